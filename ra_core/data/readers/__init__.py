"""Files to pixels: DICOM, NIfTI and raster pictures, told apart by their content; whatever is not plain is refused."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ra_core.data.readers.dicom import read_dicom
from ra_core.data.readers.nifti import read_nifti
from ra_core.data.readers.raster import read_raster
from ra_core.data.readers.refusal import Refusal
from ra_core.errors import DataError

__all__ = ["MAX_PIXELS", "READER_VERSION", "Kind", "RawImage", "read_mask", "read_pixels"]

MAX_PIXELS = 1 << 26
"""Pictures with more pixels than 8192 × 8192 are refused from their header, before memory is taken for them."""

READER_VERSION = 1
"""Raised with every change of reading or preprocessing, so that caches of older pixels are not used."""

Kind = Literal["raster", "nifti", "dicom"]

_RASTER = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"BM")
_FORMATS = "DICOM (part 10), NIfTI (.nii, .nii.gz), PNG, JPEG, TIFF and BMP are read"


@dataclass(frozen=True)
class RawImage:
    """Pixels as a file holds them, upright and with large = bright, before any normalisation.

    Attributes:
        pixels: float32 (H, W), finite, in the file's own units.
        spacing: millimetres between rows and between columns, or None where the file doesn't say.
        kind: what the file is.
    """

    pixels: NDArray[np.float32]
    spacing: tuple[float, float] | None
    kind: Kind


def read_pixels(path: Path, slice_position: float = 0.5, max_pixels: int = MAX_PIXELS) -> RawImage:
    """Read one picture.

    Args:
        path: the file; its name and suffix don't matter.
        slice_position: which axial slice of a NIfTI volume, from 0 (feet) to 1 (head).
        max_pixels: refuse larger pictures.

    Raises:
        DataError: the file can't be read, is damaged or of a kind that is not read, or holds NaN, infinity or one
            value only; names the file and the reason.
    """
    image = _read(path, slice_position, max_pixels)
    if image.pixels.min() == image.pixels.max():
        raise DataError(f"{path}: every pixel has the same value", "take it out of the manifest")
    return image


def read_mask(path: Path, slice_position: float = 0.5, max_pixels: int = MAX_PIXELS) -> NDArray[np.bool_]:
    """Read a mask, bool (H, W): 0 is outside, the one other value that a mask may hold is inside.

    Raises:
        DataError: as `read_pixels`, save that an empty mask is right and one with several values is not.
    """
    pixels = _read(path, slice_position, max_pixels).pixels
    inside = np.asarray(pixels != 0)
    if np.unique(pixels[inside]).size > 1:
        raise DataError(f"{path}: a mask with more than two values", "save it lossless, with 0 outside and 255 inside")
    return inside


def _read(path: Path, slice_position: float, max_pixels: int) -> RawImage:
    try:
        kind = _kind(path)
        pixels, spacing = _readers(slice_position)[kind](path, max_pixels)
    except Refusal as refusal:
        raise DataError(f"{path}: {refusal.reason}", refusal.hint) from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", "correct the manifest or bring the file back") from None
    # The libraries raise whatever they like on damaged files, and their messages may quote a patient's data.
    except Exception as error:
        raise DataError(f"{path}: damaged or not readable ({type(error).__name__})", "export the file again") from None
    if not np.isfinite(pixels).all():
        raise DataError(f"{path}: some pixels are NaN or infinite", "export the file again")
    return RawImage(pixels, spacing, kind)


_Reader = Callable[[Path, int], tuple[NDArray[np.float32], tuple[float, float] | None]]


def _readers(slice_position: float) -> dict[Kind, _Reader]:
    return {
        "raster": read_raster,
        "nifti": lambda path, max_pixels: read_nifti(path, max_pixels, slice_position),
        "dicom": read_dicom,
    }


def _kind(path: Path) -> Kind:
    """What the first bytes say the file is."""
    head = _head(path)
    if not head:
        raise Refusal("empty file", "export the file again")
    if head[128:132] == b"DICM":  # before raster: such a file may also begin as a TIFF
        return "dicom"
    if head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0":
        return "nifti"
    if head.startswith(_RASTER):
        return "raster"
    raise Refusal("no image of a known format", _FORMATS)


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        head = stream.read(348)
    if not head.startswith(b"\x1f\x8b"):
        return head
    try:
        with gzip.open(path) as stream:
            head = stream.read(348)
    except (EOFError, OSError, zlib.error):
        raise Refusal("truncated or damaged gzip", "copy the file again") from None
    if not (head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0"):
        raise Refusal("gzip that holds no NIfTI", f"unpack the file; {_FORMATS}")
    return head
