"""Tables that take values to others: modality LUT and VOI LUT (DICOM PS3.3 C.11.1.1, C.11.2.1.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ra_core.data.readers.dicom.values import numbers, value

__all__ = ["Table", "table_of"]

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """`entries[0]` stands for `first` and all below it, the last one for all above."""

    first: float
    entries: Values

    def __call__(self, x: Values) -> Values:
        """Look values up."""
        index = np.clip(np.round(x - self.first), 0, len(self.entries) - 1).astype(np.intp)
        return self.entries[index]


def table_of(item: Dataset, signed: bool) -> Table | None:
    """Read an item of a LUT sequence; None where it has no usable table.

    Args:
        item: holds LUTDescriptor (entries, first value, bits) and LUTData.
        signed: the values that are looked up may be negative.
    """
    descriptor = numbers(item, "LUTDescriptor", 3)
    if descriptor is None:
        return None
    count, first = int(descriptor[0]) or 1 << 16, descriptor[1]
    entries = _entries(value(item, "LUTData"), count, item.original_encoding[1] is not False)
    if entries is None:
        return None
    return Table(first - (1 << 16) if signed and first >= 1 << 15 else first, entries)


def _entries(data: object, count: int, little: bool) -> Values | None:
    if isinstance(data, bytes):
        kind = "u1" if len(data) < 2 * count else "<u2" if little else ">u2"
        found = np.frombuffer(data[: count * np.dtype(kind).itemsize], dtype=kind).astype(np.float64)
    else:
        found = np.array([] if data is None else data, dtype=np.float64).reshape(-1)[:count]
    return found if len(found) == count and count > 1 and bool(np.isfinite(found).all()) else None
