"""Pixels to what a method sees: pure functions of arrays."""

from __future__ import annotations

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.Image import Resampling

from ra_core.config import PreprocessingConfig

__all__ = ["foreground", "pad_to_square", "preprocess", "preprocess_mask", "resize", "scale_foreground"]


def foreground(x: NDArray[np.floating], above: float) -> NDArray[np.bool_]:
    """Where the body is: pixels over a share of the range from the minimum to the 99.5th percentile.

    The percentile in place of the maximum keeps a burned-in marker from deciding. Never empty unless x is constant.

    Args:
        x: (H, W), finite, any units.
        above: the share, in [0, 1).

    Returns:
        bool (H, W).
    """
    shifted = x.astype(np.float64) - float(x.min())
    return np.asarray(shifted > above * np.percentile(shifted, 99.5))


def scale_foreground(x: NDArray[np.floating], low: float, high: float, above: float) -> NDArray[np.float32]:
    """Foreground percentiles `low` and `high` become 0 and 1, with clipping; the background becomes 0.

    Invariant to a·x + b with a > 0. A foreground whose percentiles coincide becomes 1 from there on.

    Args:
        x: (H, W), finite and not constant, any units.
        low: percentile, in [0, 100).
        high: percentile, in (low, 100].
        above: see `foreground`.

    Returns:
        float32 (H, W) in [0, 1].
    """
    inside = foreground(x, above)
    shifted = x.astype(np.float64) - float(x.min())
    bottom, top = np.percentile(shifted[inside], (low, high))
    width = top - bottom
    scaled = np.clip((shifted - bottom) / width, 0, 1) if width > 0 else shifted >= top
    return np.where(inside, scaled, 0).astype(np.float32)


def pad_to_square(x: NDArray[np.floating]) -> NDArray[np.floating]:
    """Centre (H, W) in a square of side max(H, W) filled with the minimum; an odd pixel goes below or to the right."""
    return np.pad(x, _margins(x.shape), constant_values=x.min())


def resize(x: NDArray[np.floating], size: int, method: Resampling = Resampling.BILINEAR) -> NDArray[np.float32]:
    """Float32 (size, size) of a square x, antialiased where it shrinks."""
    image = PIL.Image.fromarray(np.ascontiguousarray(x, dtype=np.float32))
    return np.array(image.resize((size, size), method), dtype=np.float32)


def preprocess(x: NDArray[np.floating], config: PreprocessingConfig) -> NDArray[np.float32]:
    """What every method sees: scaled by its foreground, padded to a square, resized.

    Args:
        x: (H, W), finite and not constant, large = bright, any units.
        config: size, percentiles and foreground.

    Returns:
        float32 (1, size, size) in [0, 1].
    """
    scaled = scale_foreground(x, config.low_percentile, config.high_percentile, config.foreground_above)
    return np.clip(resize(pad_to_square(scaled), config.size), 0, 1)[None]


def preprocess_mask(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Take a mask through the geometry of `preprocess`.

    A pixel is inside where at least half of it is covered; where no pixel is, those that are covered most are, so
    that a thin lesion doesn't vanish.

    Args:
        mask: bool (H, W), of the same size as its image.
        size: side of the preprocessed image.

    Returns:
        bool (size, size), empty only if the mask is.
    """
    coverage = resize(np.pad(mask, _margins(mask.shape)).astype(np.float32), size, Resampling.BOX)
    return np.asarray((coverage > 0) & (coverage >= min(0.5, coverage.max())))


def _margins(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Rows and columns to add before and after, so that the shape becomes a square."""
    side = max(shape)
    return [((side - n) // 2, side - n - (side - n) // 2) for n in shape]
