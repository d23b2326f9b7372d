"""Gaussian smoothing, by SciPy."""

from __future__ import annotations

import numpy as np

__all__ = ["gaussian"]


def gaussian(values: np.ndarray, sigma: float | tuple[float, ...]) -> np.ndarray:
    """Values smoothed with spread sigma, in pixels, of all axes or of each: any shape -> the same."""
    from scipy.ndimage import gaussian_filter  # noqa: PLC0415 - a round trains without a score, and scipy loads slowly

    smooth: np.ndarray = gaussian_filter(values, sigma)
    return smooth
