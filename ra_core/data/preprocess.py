"""Pixels to what a method sees: pure functions of arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ra_core.config import PreprocessingConfig
from ra_core.data.geometry import Geometry

__all__ = ["foreground", "preprocess", "scale_foreground", "scaled"]


def foreground(x: NDArray[np.floating], above: float) -> NDArray[np.bool_]:
    """Where the body is: pixels over a share of the range from the minimum to the 99.5th percentile.

    The percentile in place of the maximum keeps a burned-in marker from deciding. It is that of the pixels above the
    minimum, so that the padding around a scan, however wide, changes nothing. Never empty unless x is constant.

    Args:
        x: (H, W), finite, any units.
        above: the share, in [0, 1).

    Returns:
        bool (H, W).
    """
    shifted = x.astype(np.float64) - float(x.min())
    body = shifted[shifted > 0]
    return np.asarray(shifted > (above * np.percentile(body, 99.5) if body.size else 0))


def scale_foreground(x: NDArray[np.floating], low: float, high: float, above: float) -> NDArray[np.float32]:
    """Foreground percentiles `low` and `high` become 0 and 1, with clipping; the background becomes 0.

    Invariant to a·x + b with a > 0, and to padding with the minimum. A foreground whose percentiles coincide becomes 1
    from there on.

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


def preprocess(x: NDArray[np.floating], geometry: Geometry, config: PreprocessingConfig) -> NDArray[np.float32]:
    """What every method sees: scaled by its foreground, resampled to square pixels, padded to a square, resized.

    Args:
        x: (H, W), finite and not constant, large = bright, any units.
        geometry: of the picture.
        config: percentiles and foreground.

    Returns:
        float32 (1, S, S) in [0, 1].
    """
    return np.clip(geometry.to_size(scaled(x, config)), 0, 1)[None]


def scaled(x: NDArray[np.floating], config: PreprocessingConfig) -> NDArray[np.float32]:
    """A picture (H, W) scaled as `preprocess` does it, on its own grid: float32 (H, W) in [0, 1]."""
    return scale_foreground(x, config.low_percentile, config.high_percentile, config.foreground_above)
