"""Whether slices lie straight one behind the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["Point", "is_tilted"]

Point = tuple[float, float, float]
"""Millimetres, in patient axes."""

_TILT = 0.02
"""Of the way from the first slice to the last, the share that goes sideways in a tilted stack: about 1 degree."""


def is_tilted(origins: Sequence[Point], normal: Point) -> bool:
    """Whether slices move sideways along the stack, as with a tilted gantry.

    Args:
        origins: upper left pixels, in the order of the stack.
        normal: unit vector across the slices.
    """
    way = np.subtract(origins[-1], origins[0])
    along = float(np.dot(way, normal))
    return bool(np.linalg.norm(way - along * np.asarray(normal)) > _TILT * abs(along) > 0)
