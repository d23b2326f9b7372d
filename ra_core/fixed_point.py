"""Weight updates as integers on a fixed grid, so that a sum over hospitals is exact and no order can matter.

A site rounds its update to multiples of 2^-24 and sends integers; the server adds count × update in 64-bit integers.
Integer addition is associative, so every arrival order of the replies gives the same bits; floating-point addition is
not. The bounds below make overflow impossible: 2^27 (largest value) × 2^35 (largest total count) < 2^63.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LARGEST_TOTAL_COUNT",
    "LARGEST_UPDATE",
    "RESOLUTION",
    "Codes",
    "RangeError",
    "WeightedSum",
    "check_update",
    "decode",
    "encode",
]

RESOLUTION = 2.0**-24
"""Distance of two neighbouring values: about 6e-8, the spacing of float32 numbers near 1."""

LARGEST_UPDATE = 8.0
"""No weight may move further than this in one round."""

LARGEST_TOTAL_COUNT = 2**35
"""Images of all sites together."""

_LARGEST_CODE = int(LARGEST_UPDATE / RESOLUTION)

Codes = NDArray[np.int32]


class RangeError(ValueError):
    """An update is not finite or beyond `LARGEST_UPDATE`, or a count beyond `LARGEST_TOTAL_COUNT`."""


def encode(update: NDArray[np.floating]) -> Codes:
    """Multiples of `RESOLUTION` nearest to the update, ties to even: any shape -> int32 of the same shape.

    Raises:
        RangeError: a value is not finite or beyond ±`LARGEST_UPDATE`.
    """
    wide = update.astype(np.float64)
    if not np.isfinite(wide).all():
        raise RangeError("the update holds NaN or infinity")
    if wide.size and np.abs(wide).max() > LARGEST_UPDATE:
        raise RangeError(f"the update moves a weight by {np.abs(wide).max():.3g}, more than {LARGEST_UPDATE}")
    return np.rint(wide / RESOLUTION).astype(np.int32)


def decode(codes: NDArray[np.integer]) -> NDArray[np.float64]:
    """The update that codes stand for, exact in float64."""
    return codes.astype(np.float64) * RESOLUTION


class WeightedSum:
    """Running Σ count × update over sites, in memory that doesn't grow with their number.

    Args:
        shapes: of the arrays, by name.

    Example:
        >>> total = WeightedSum({"w": (2,)})
        >>> total.add({"w": encode(np.array([1.0, 2.0]))}, 1)
        >>> total.add({"w": encode(np.array([4.0, 2.0]))}, 2)
        >>> total.mean()["w"]
        array([3., 2.])
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._shapes = dict(shapes)
        self._sums = {name: np.zeros(shape, np.int64) for name, shape in shapes.items()}
        self.count = 0

    @classmethod
    def of(cls, sums: Mapping[str, NDArray[np.int64]], count: int) -> WeightedSum:
        """One that was summed elsewhere, as under masks: Σ count × codes by name, and Σ count."""
        found = cls({name: array.shape for name, array in sums.items()})
        found._sums, found.count = dict(sums), count
        return found

    def add(self, codes: Mapping[str, Codes], count: int) -> None:
        """Fold in one site's codes with the number of its images.

        Raises:
            RangeError: the count is not positive or the total too large, or a code is out of range; nothing was added.
            ValueError: names, shapes or types are not those expected; nothing was added.
        """
        check_update(codes, count, self.count, self._shapes)
        for name, array in codes.items():
            self._sums[name] += array.astype(np.int64) * count
        self.count += count

    def mean(self) -> dict[str, NDArray[np.float64]]:
        """Mean update weighted by counts, by name.

        Raises:
            ValueError: nothing was added.
        """
        if not self.count:
            raise ValueError("the mean of no update")
        return {name: decode(total) / self.count for name, total in self._sums.items()}


def check_update(codes: Mapping[str, Codes], count: int, so_far: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse one site's codes and count where they don't fit the model or the bounds.

    Args:
        codes: of the site's update, by name.
        count: of the site's images.
        so_far: images of the sites before it.
        shapes: that are expected, by name.

    Raises:
        RangeError: the count is not positive or the total too large, or a code is out of range.
        ValueError: names, shapes or types are not those expected.
    """
    if count < 1 or so_far + count > LARGEST_TOTAL_COUNT:
        raise RangeError(f"count {count} is not positive or takes the total beyond {LARGEST_TOTAL_COUNT}")
    if codes.keys() != shapes.keys():
        raise ValueError(f"arrays differ: {sorted(codes.keys() ^ shapes.keys())[:3]}")
    for name, array in codes.items():
        _check(name, array, shapes[name])


def _check(name: str, array: Codes, shape: tuple[int, ...]) -> None:
    if array.dtype != np.int32:
        raise ValueError(f"'{name}' is {array.dtype}, not int32")
    if array.shape != shape:
        raise ValueError(f"'{name}' has shape {array.shape}, not {shape}")
    # By both ends: the absolute value of the smallest int32 is no int32.
    if array.size and max(int(array.max()), -int(array.min())) > _LARGEST_CODE:
        raise RangeError(f"'{name}' holds an update beyond {LARGEST_UPDATE}")
