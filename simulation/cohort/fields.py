"""Smooth random fields on a square grid: deformations, bias fields, texture.

The cohort is computed in float64: how a processor rounds then shows in no pixel of 8 bits but by a rare chance, where
in float32 it did in some. Normal draws are float32, as they always were: others would be other patients.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Array", "smooth_field"]

Array = NDArray[np.float64]


def smooth_field(rng: np.random.Generator, size: int, knots: int) -> Array:
    """A float64 (size, size) field with mean 0 and deviation near 1: cubic splines through knots x knots normal draws.

    >>> smooth_field(np.random.default_rng(0), 128, 5).shape
    (128, 128)
    """
    spline = _spline_matrix(size, knots)
    draws = rng.standard_normal((knots, knots), dtype=np.float32)
    field: Array = spline @ draws @ spline.T
    return field


@lru_cache(maxsize=32)
def _spline_matrix(size: int, knots: int) -> Array:
    """The (size, knots) matrix of cubic interpolation: zooming is linear, so it is the zoomed identity."""
    matrix: Array = ndimage.zoom(np.eye(knots), (size / knots, 1), order=3, mode="nearest")
    matrix.flags.writeable = False
    return matrix
