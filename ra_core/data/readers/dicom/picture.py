"""One frame to a picture: decoded, measured, windowed, inverted once where large is dark, its padding made dark."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import Decoder

from ra_core.config import WindowName
from ra_core.data.readers.dicom.colour import grey
from ra_core.data.readers.dicom.frames import decode
from ra_core.data.readers.dicom.geometry import spacing_of
from ra_core.data.readers.dicom.header import Header
from ra_core.data.readers.dicom.layout import Layout
from ra_core.data.readers.dicom.modality import Transform, measured, transform_of
from ra_core.data.readers.dicom.voi import own_window
from ra_core.data.readers.refusal import Reason, Refusal
from ra_core.data.readers.source import Note, RawImage
from ra_core.data.readers.windows import WINDOWS, clip_to

__all__ = ["picture_of", "refuse_window"]

Values = NDArray[np.float64]


def picture_of(header: Header, layout: Layout, decoder: Decoder, frame: int, window: WindowName) -> RawImage:
    """Read one frame.

    Steps as in DICOM PS3.3 C.11.1 and C.11.2 and PS3.4 N.2: modality LUT, window, MONOCHROME1. The file's own window is
    not applied if it would leave fewer than two grey levels; a named one always is, so that grey means the same in
    every picture.

    Args:
        header: of the file.
        layout: of the file.
        decoder: of its transfer syntax.
        frame: number in the file, from 0.
        window: file, none or a name.

    Raises:
        Refusal: it can't be decoded, is in real colour, or has impossible values.
    """
    ds = header.tags
    spacing = spacing_of(ds, frame)
    stored = decode(header, layout, decoder, frame)
    if layout.is_coloured:
        return RawImage(_float32(grey(stored, ds, layout.photometric)), spacing, "dicom")
    transform = transform_of(ds, frame, layout.signed)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused later
        values, padding, put_right = measured(stored, ds, transform)
    notes = (Note.SIGN_PUT_RIGHT,) if put_right else ()
    if padding.all():
        return RawImage(np.zeros(values.shape, dtype=np.float32), spacing, "dicom", notes)
    refuse_window(layout, transform, window)
    inside = ~padding
    shown = _windowed(values, inside, ds, frame, window, transform.is_signed(layout.ends))
    if shown is None:
        shown, notes = values, (*notes, Note.WINDOW_NOT_APPLIED)
    low, high = _ends(shown[inside])
    if layout.photometric == "MONOCHROME1":
        shown = low + high - shown  # here and nowhere else: PresentationLUTShape INVERSE says the same once more
    shown[padding] = low  # outside the scanned field, so dark on either grey scale
    return RawImage(_float32(shown), spacing, "dicom", notes)


def refuse_window(layout: Layout, transform: Transform, window: WindowName) -> None:
    """Refuse a window in Hounsfield units for a frame that is not in them.

    Args:
        layout: of the file.
        transform: of the frame.
        window: file, none or a name.

    Raises:
        Refusal: it is so.
    """
    if window in WINDOWS and (layout.is_coloured or not transform.hounsfield):
        raise Refusal(
            Reason.NOT_IN_HOUNSFIELD,
            f"values that are not in Hounsfield units, and window {window} is",
            "leave the file out, or set preprocessing.window to file or none",
        )


def _windowed(
    values: Values, inside: NDArray[np.bool_], ds: Dataset, frame: int, window: WindowName, signed: bool
) -> Values | None:
    """With the window applied; None where the file's own is not fit for it.

    `signed` says whether values may be negative, so that the window is looked up with them.
    """
    if window == "none" or window in WINDOWS:
        return clip_to(values, window)
    try:
        own = own_window(ds, frame, signed)
    except ValueError:
        return None
    if own is None:
        return values
    shown = own(values)
    low, high = _ends(shown[inside])
    return shown if low < high else None


def _ends(values: Values) -> tuple[np.float64, np.float64]:
    """Lowest and highest; apart, so that values gathered for it are let go at once."""
    return values.min(), values.max()


def _float32(values: Values) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
