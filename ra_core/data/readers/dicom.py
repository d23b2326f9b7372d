"""Single-frame grey DICOM pictures through pydicom: modality LUT, window, MONOCHROME1, in this order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.filereader import read_file_meta_info
from pydicom.multival import MultiValue
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from ra_core.data.readers.refusal import Refusal, refuse_size

__all__ = ["read_dicom"]

# Nothing else is parsed: who the patient is never gets into memory.
_TAGS = [
    *("Modality", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelData"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "PixelSpacing", "ImagerPixelSpacing"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]
_NO_SCAN = ("SEG", "RTDOSE", "RTSTRUCT", "PR", "KO", "SR", "REG")

Pixels = NDArray[np.float64]


def read_dicom(path: Path, max_pixels: int) -> tuple[NDArray[np.float32], tuple[float, float] | None]:
    """Pixels (H, W), large = bright, clipped to the first window, and millimetres (row, column) where told.

    The spacing is PixelSpacing, else ImagerPixelSpacing, which is that of the detector. Steps as in DICOM PS3.3
    C.11.1 and C.11.2 and PS3.4 N.2; a window only clips, since preprocessing undoes its ramp.

    Raises:
        Refusal: several frames, colour, no picture, a table or curve in place of a window, too many pixels, or a
            transfer syntax that is deflated or that can't be decoded here.
    """
    if read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        # `dcmread` would inflate all of it, whatever its size, before the header can be looked at
        raise Refusal("deflated DICOM file", "convert it to an uncompressed transfer syntax")
    ds = pydicom.dcmread(path, specific_tags=list(_TAGS))
    _refuse(ds, max_pixels)
    stored = pixel_array(ds)
    padding = _padding(stored, ds)
    if padding.all():
        raise Refusal("nothing but padding", "take it out of the manifest")
    values = _window(apply_modality_lut(stored, ds).astype(np.float64), ds)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        # Here and nowhere else: PresentationLUTShape INVERSE says the same thing once more.
        values = values.max() + values.min() - values
    values[padding] = values[~padding].min()  # outside the scanned field, so dark on either grey scale
    return values.astype(np.float32), _spacing(ds)


def _refuse(ds: pydicom.FileDataset, max_pixels: int) -> None:
    if ds.get("Modality") in _NO_SCAN or "PixelData" not in ds:
        raise Refusal("DICOM object without a picture", "take it out of the manifest")
    if int(ds.get("NumberOfFrames") or 1) > 1:
        raise Refusal("several frames in one DICOM file", "export the frame that is meant")
    if "SharedFunctionalGroupsSequence" in ds or "PerFrameFunctionalGroupsSequence" in ds:
        raise Refusal("enhanced DICOM object", "export it as a classic single-frame object")
    photometric = ds.get("PhotometricInterpretation")
    if photometric not in ("MONOCHROME1", "MONOCHROME2") or ds.get("SamplesPerPixel") != 1:
        raise Refusal("colour DICOM image", "export it in grey")
    refuse_size(ds.Rows, ds.Columns, max_pixels)
    rescale = [ds.get(name, "") not in ("", None) for name in ("RescaleSlope", "RescaleIntercept")]
    if rescale[0] != rescale[1] or ("RescaleSlope" in ds and not rescale[0]):
        raise Refusal("rescale slope or intercept without a value", "export the file again")
    _refuse_syntax(ds.file_meta.get("TransferSyntaxUID"))


def _refuse_syntax(syntax: UID | None) -> None:
    if syntax is None:
        raise Refusal("no transfer syntax", "export the file again")
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise Refusal(f"transfer syntax {syntax.name} can't be decoded", "export it uncompressed") from None
    if not decoder.is_available:
        needed = "; or ".join(decoder.missing_dependencies)
        raise Refusal(f"no decoder for transfer syntax {syntax.name}", f"install one of: {needed}")


def _padding(stored: NDArray[np.integer], ds: pydicom.FileDataset) -> NDArray[np.bool_]:
    """Pixels that the header declares to be no measurement."""
    value = ds.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    limit = ds.get("PixelPaddingRangeLimit", value)
    low, high = sorted((int(value), int(limit)))
    return np.asarray((stored >= low) & (stored <= high))


def _window(values: Pixels, ds: pydicom.FileDataset) -> Pixels:
    """Clip to the first window, in units of the modality LUT."""
    centre, width = _first(ds.get("WindowCenter")), _first(ds.get("WindowWidth"))
    if centre is None or width is None:
        if ds.get("VOILUTSequence"):
            raise Refusal("a table in place of a window", "export it with a window")
        return values
    function = ds.get("VOILUTFunction") or "LINEAR"
    if function == "LINEAR":  # its ramp is half a value off centre and one value narrower
        centre, width = centre - 0.5, width - 1
    elif function != "LINEAR_EXACT":
        raise Refusal("a curve in place of a window", "export it with a linear window")
    clipped = np.clip(values, centre - width / 2, centre + width / 2) if width > 0 else np.zeros_like(values)
    if clipped.min() == clipped.max():
        raise Refusal("its window leaves one grey level", "export it with another window or none")
    return clipped


def _first(value: object) -> float | None:
    """The first of several values; None for an empty or missing one."""
    if isinstance(value, MultiValue):
        value = value[0] if value else None
    return None if value in (None, "") else float(str(value))


def _spacing(ds: pydicom.FileDataset) -> tuple[float, float] | None:
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        value = ds.get(name)
        if value and len(value) == 2 and min(value) > 0:
            return float(value[0]), float(value[1])
    return None
