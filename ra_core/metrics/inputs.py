"""What every metric asks of its arguments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["BoolArray", "FloatArray", "IntArray", "binary", "encode", "finite"]

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def finite(values: ArrayLike, what: str) -> FloatArray:
    """`values` as float64, of any shape.

    Raises:
        ValueError: some are NaN or infinite.
    """
    array = np.asarray(values, dtype=np.float64)
    bad = array.size - int(np.isfinite(array).sum())
    if bad:
        raise ValueError(f"{bad} of {array.size} {what} are not finite")
    return array


def encode(patients: Sequence[str], n: int) -> tuple[IntArray, int]:
    """The number of each row's patient in sorted order, (n,), and how many patients there are.

    Raises:
        ValueError: there are not `n` rows.
    """
    if len(patients) != n:
        raise ValueError(f"{len(patients)} patients for {n} images")
    distinct, codes = np.unique(np.asarray(list(patients)), return_inverse=True)
    return codes.astype(np.int64), len(distinct)


def binary(labels: ArrayLike, n: int) -> BoolArray:
    """Labels as bool, (n,).

    Raises:
        ValueError: a label is neither 0 nor 1, or there are not `n`.
    """
    array = np.asarray(labels)
    if array.shape != (n,):
        raise ValueError(f"labels of shape {array.shape} for {n} images")
    if not np.isin(array, (0, 1)).all():
        raise ValueError("labels must be 0 (healthy) or 1 (anomalous)")
    return array.astype(bool)
