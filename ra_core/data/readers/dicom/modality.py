"""Stored values to what they measure: modality LUT or rescale, Hounsfield units, padding (DICOM PS3.3 C.11.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ra_core.data.readers.dicom.groups import macro
from ra_core.data.readers.dicom.tables import Table, table_of
from ra_core.data.readers.dicom.values import first_item, number, text, whole
from ra_core.data.readers.refusal import Reason, Refusal

__all__ = ["Transform", "measured", "transform_of"]

Stored = NDArray[np.integer]
Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

_NO_MEASUREMENT = -1024.0
"""HU below are padding: CT numbers begin there, and a lossy codec blurs the padding that a header declares."""

_HIGHEST = 32767.0
"""HU above can't be: they are negative ones read as unsigned."""


@dataclass(frozen=True)
class Transform:
    """What stored values of one frame stand for.

    Attributes:
        slope, intercept: value = slope · stored + intercept.
        table: goes before them.
        hounsfield: the result is in Hounsfield units.
        incomplete: of slope and intercept, one is not said.
    """

    slope: float = 1.0
    intercept: float = 0.0
    table: Table | None = None
    hounsfield: bool = False
    incomplete: bool = False

    def __call__(self, stored: Stored) -> Values:
        """Float before arithmetic, so that nothing wraps."""
        values = stored.astype(np.float64)
        return self.slope * values + self.intercept if self.table is None else self.table(values)

    def is_signed(self, ends: tuple[int, int]) -> bool:
        """Whether stored values between these ends may become negative."""
        return bool(self(np.array(ends)).min() < 0)


def transform_of(ds: Dataset, frame: int, signed: bool) -> Transform:
    """A frame's transform, from its functional groups or the top of the header.

    A rescale that is empty or of slope 0 is none; in an incomplete one, a missing slope is 1 and a missing intercept 0.
    Values are Hounsfield units if a complete rescale has RescaleType HU, or is a CT's and has none.
    """
    place = macro(ds, frame, "PixelValueTransformationSequence") or ds
    item = first_item(place, "ModalityLUTSequence")
    table = None if item is None else table_of(item, signed)
    slope, intercept = number(place, "RescaleSlope"), number(place, "RescaleIntercept")
    if table is not None:
        return Transform(table=table)
    if slope == 0 or (slope is None and intercept is None):
        return Transform()
    if slope is None or intercept is None:
        return Transform(1.0 if slope is None else slope, intercept or 0.0, incomplete=True)
    unit = text(place, "RescaleType").upper()
    return Transform(slope, intercept, hounsfield=unit == "HU" or (unit == "" and text(ds, "Modality").upper() == "CT"))


def measured(stored: Stored, ds: Dataset, transform: Transform) -> tuple[Values, Mask, bool]:
    """Values, padding, and whether two's complement under PixelRepresentation 0 was put right.

    Raises:
        Refusal: Hounsfield units that can't be.
    """
    values, padding = transform(stored), _declared_padding(stored, ds)
    if not transform.hounsfield:
        return values, padding, False
    if not (values[~padding] > _HIGHEST).any():
        return values, padding | (values < _NO_MEASUREMENT), False
    if stored.dtype != np.uint16:
        raise Refusal(Reason.IMPLAUSIBLE_VALUES, "values that can't be Hounsfield units", "export it again")
    values, padding, _ = measured(stored.view(np.int16), ds, transform)
    return values, padding, True


def _declared_padding(stored: Stored, ds: Dataset) -> Mask:
    """Pixels that the header declares to be no measurement (DICOM PS3.3 C.7.5.1.1.2)."""
    value = whole(ds, "PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    limit = whole(ds, "PixelPaddingRangeLimit")
    low, high = sorted(_as_stored(bound, stored.dtype) for bound in (value, value if limit is None else limit))
    return np.asarray((stored >= low) & (stored <= high))


def _as_stored(bound: int, kind: np.dtype[np.integer]) -> int:
    """A bound as the pixels hold it, though it may have been written with the other sign."""
    bits = 8 * kind.itemsize
    bound %= 1 << bits
    return bound - (1 << bits) if kind.kind == "i" and bound >= 1 << (bits - 1) else bound
