"""Plain numbers of a picture that may give a label away: a method that doesn't beat them has shown nothing."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

__all__ = ["SHORTCUTS"]


def _brightness(x: Tensor) -> Tensor:
    """Mean grey."""
    return x.flatten(1).mean(1)


def _foreground(x: Tensor) -> Tensor:
    """Share of pixels above 0."""
    return (x > 0).flatten(1).float().mean(1)


def _sharpness(x: Tensor) -> Tensor:
    """Mean absolute difference between a pixel and the mean of its 3 x 3 neighbourhood."""
    return (x - F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)).abs().flatten(1).mean(1)


SHORTCUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "brightness": _brightness,
    "foreground": _foreground,
    "sharpness": _sharpness,
}
"""Functions (N, 1, H, W) in [0, 1] -> (N,) by name. Read their AUROC both ways: 0.1 tells as much as 0.9."""
