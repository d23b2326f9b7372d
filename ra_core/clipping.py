"""The norm of an update, and shortening an update to a norm: at a site before it leaves, and at the server.

Both work on the integer codes of `ra_core.fixed_point`, so no result depends on the order of tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ra_core.fixed_point import RESOLUTION, Codes

__all__ = ["clipped", "update_norm"]

CHUNK = 1 << 16
"""Weights looked at together: the scratch memory of a norm grows with this, not with the model."""


def update_norm(codes: Mapping[str, Codes]) -> float:
    """L2 norm of the update over all arrays: the squares are summed exactly, as integers."""
    return math.sqrt(sum(_sum_of_squares(array) for array in codes.values())) * RESOLUTION


def _sum_of_squares(codes: Codes) -> int:
    flat, total = codes.reshape(-1), 0
    for start in range(0, flat.size, CHUNK):
        squares = np.square(flat[start : start + CHUNK], dtype=np.int64)
        # In two halves: squares are up to 2^62, and two of those are too many for 64 bits.
        total += (int((squares >> 31).sum()) << 31) + int((squares & (2**31 - 1)).sum())
    return total


def clipped(codes: Mapping[str, Codes], largest: float) -> dict[str, Codes]:
    """The update, shortened to a norm where it is longer; the direction stays.

    Rounding back to codes, ties to even, moves each of n weights by up to half of `RESOLUTION`, so the norm of what
    comes back is at most largest + √n · RESOLUTION / 2 (1e-4 for ten million weights).

    Args:
        codes: of one site's update, by name.
        largest: norm that is left as it is.

    Raises:
        ValueError: the largest norm is not a positive number.
    """
    if not 0 < largest < math.inf:
        raise ValueError(f"{largest} is no largest norm: it has to be a positive number")
    norm = update_norm(codes)
    if norm <= largest:
        return dict(codes)
    # As arrays: numpy turns the result into a plain number where there is one weight without dimensions.
    return {name: np.asarray(np.rint(array * (largest / norm)), np.int32) for name, array in codes.items()}
