"""Plain properties of a picture that may give a label or a lesion away: a method must beat them to have shown anything.

Each is a map, whose mean over the pixels is the image's number; but for the slice's height, which is a number alone.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

__all__ = ["SHORTCUTS", "SLICE_HEIGHT", "foreground"]


def foreground(x: Tensor) -> Tensor:
    """Where there is something, bool: pixels above 0 of (N, 1, H, W)."""
    return x > 0


def _brightness(x: Tensor) -> Tensor:
    """The greys themselves."""
    return x


def _foreground(x: Tensor) -> Tensor:
    """1 in the foreground, 0 elsewhere."""
    return foreground(x).float()


def _sharpness(x: Tensor) -> Tensor:
    """Absolute difference between a pixel and the mean of its 3 x 3 neighbourhood."""
    return (x - F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)).abs()


SHORTCUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "brightness": _brightness,
    "foreground": _foreground,
    "sharpness": _sharpness,
}
"""Functions (N, 1, H, W) in [0, 1] -> the same by name. Read their AUROC both ways: 0.1 tells as much as 0.9."""

SLICE_HEIGHT = "slice_height"
"""Where in its volume a slice lies (`ImageSet.heights`): lesions may be commoner at some heights."""
