"""The norm of an update, and what makes one shorter or coarser: at a site before it leaves, and at the server.

All work on the integer codes of `ra_core.fixed_point`, so no result depends on the order of tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ra_core.fixed_point import RESOLUTION, Codes

__all__ = ["clipped", "truncated", "update_norm"]

CHUNK = 1 << 16
"""Weights looked at together: the scratch memory of a norm grows with this, not with the model."""

_SLACK = 1e-12
"""Of a norm: shortening may leave it longer by the last digits of a float."""


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

    Rounding back to codes goes towards zero, so that the norm of what comes back is at most `largest`, but for the last
    digit of a float. What has been shortened once is left as it is a second time, at the site and then at the server.

    Args:
        codes: of one site's update, by name.
        largest: norm that is left as it is.

    Raises:
        ValueError: the largest norm is not a positive number.
    """
    if not 0 < largest < math.inf:
        raise ValueError(f"{largest} is no largest norm: it has to be a positive number")
    norm = update_norm(codes)
    if norm <= largest * (1 + _SLACK):
        return dict(codes)
    # As arrays: numpy turns the result into a plain number where there is one weight without dimensions.
    return {name: np.asarray(np.trunc(array * (largest / norm)), np.int32) for name, array in codes.items()}


def truncated(codes: Mapping[str, Codes], digits: int) -> dict[str, Codes]:
    """The update with so many leading binary digits of each weight, the others zero: towards zero, so no norm grows.

    A weight's code is a multiple of 2^-24, float16's smallest step, so with 11 digits each is a float16 exactly, and
    with 8 digits a bfloat16 (IEEE 754-2019, table 3.5; bfloat16 has float32's exponent and 8 digits).

    Args:
        codes: of one site's update, by name.
        digits: from 1.
    """
    return {name: _leading(array, digits) for name, array in codes.items()}


def _leading(codes: Codes, digits: int) -> Codes:
    sizes = np.abs(codes.astype(np.int64))
    spare = np.maximum(np.frexp(sizes.astype(np.float64))[1] - digits, 0)
    return np.asarray(np.sign(codes) * (sizes >> spare << spare), np.int32)
