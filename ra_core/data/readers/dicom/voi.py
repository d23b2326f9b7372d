"""The window that a file states for itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ra_core.data.readers.dicom.groups import macro
from ra_core.data.readers.dicom.tables import table_of
from ra_core.data.readers.dicom.values import first_item, is_empty, number, text

__all__ = ["own_window"]

Values = NDArray[np.float64]
Window = Callable[[Values], Values]


def own_window(ds: Dataset, frame: int, signed: bool) -> Window | None:
    """The first window that the file states for a frame, else its table (DICOM PS3.3 C.11.2.1).

    LINEAR and LINEAR_EXACT only clip, since preprocessing undoes their ramp; SIGMOID bends values within the window's
    limits, and a table replaces them.

    Args:
        ds: the header.
        frame: number in the file, from 0.
        signed: the values that are windowed, behind the modality LUT, may be negative; so may a table's first one then.

    Returns:
        None where the file states none.

    Raises:
        ValueError: what it states is no window.
    """
    place = macro(ds, frame, "FrameVOILUTSequence") or ds
    if is_empty(place, "WindowCenter") or is_empty(place, "WindowWidth"):
        item = first_item(place, "VOILUTSequence")
        return None if item is None else table_of(item, signed)
    centre, width = number(place, "WindowCenter"), number(place, "WindowWidth")
    function = text(place, "VOILUTFunction").upper() or "LINEAR"
    if centre is None or width is None or width <= 0 or (function == "LINEAR" and width < 1):
        raise ValueError(function)
    if function == "LINEAR":  # its ramp is half a value off centre and one value narrower
        return _clip(centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)
    if function == "LINEAR_EXACT":
        return _clip(centre - width / 2, centre + width / 2)
    if function == "SIGMOID":
        return _sigmoid(centre, width)
    raise ValueError(function)


def _clip(low: float, high: float) -> Window:
    return lambda x: np.clip(x, low, high)


def _sigmoid(centre: float, width: float) -> Window:
    def bend(x: Values) -> Values:
        return np.asarray(centre + width / 2 * np.tanh(2 * (x - centre) / width))  # 1 / (1 + e^-4t) = (1 + tanh 2t) / 2

    return bend
