"""Functional groups of enhanced objects: what holds for one frame (DICOM PS3.3 C.7.6.16)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from ra_core.data.readers.dicom.values import first_item, value

__all__ = ["macro"]


def macro(ds: Dataset, frame: int, name: str) -> Dataset | None:
    """A macro's item for a frame, its own before the shared one; None where the object has neither.

    Args:
        ds: the whole object.
        frame: number of the frame in the file, from 0.
        name: keyword of the macro's sequence.
    """
    own = value(ds, "PerFrameFunctionalGroupsSequence")
    if isinstance(own, Sequence) and frame < len(own):
        item = first_item(own[frame], name)
        if item is not None:
            return item
    shared = first_item(ds, "SharedFunctionalGroupsSequence")
    return None if shared is None else first_item(shared, name)
