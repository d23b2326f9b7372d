"""One axial slice of a NIfTI file through nibabel."""

from __future__ import annotations

import gzip
import math
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ra_core.data.readers.refusal import Refusal, refuse_size

__all__ = ["read_nifti"]

_CHUNK = 1 << 20


def read_nifti(path: Path, max_pixels: int, position: float) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """Scaled pixels (H, W) of the axial slice at `position` from 0 (feet) to 1 (head), and millimetres (row, column).

    The front of the body is up and its right side is left, as radiologists look at it and as DICOM stores it. Only
    this slice is kept in memory.

    Raises:
        Refusal: not two or three dimensions, voxels that are no plain numbers, too many pixels, or a truncated file.
    """
    with path.open("rb") as file, _unpacked(file) as stream:
        version = nib.Nifti1Image if stream.read(4) in (b"\x5c\x01\0\0", b"\0\0\x01\x5c") else nib.Nifti2Image
        stream.seek(0)
        image = version.from_stream(stream)
        _refuse(image, stream)
        thin: Any = nib.as_closest_canonical(_slice(image, position, max_pixels))  # type: ignore[no-untyped-call]
        voxels = thin.get_fdata(dtype=np.float32, caching="unchanged")[:, :, 0]  # (to the right, to the front)
    zooms = thin.header.get_zooms()
    return np.ascontiguousarray(voxels[::-1, ::-1].T), (float(zooms[1]), float(zooms[0]))


def _unpacked(file: BufferedReader) -> BufferedIOBase:
    return gzip.GzipFile(fileobj=file) if file.peek(2).startswith(b"\x1f\x8b") else file


def _refuse(image: Any, stream: BufferedIOBase) -> None:
    if len(image.shape) not in (2, 3):
        raise Refusal(f"{len(image.shape)} dimensions", "export the one volume that is meant")
    if image.get_data_dtype().kind not in "iuf":
        raise Refusal("voxels are colours or complex numbers", "export magnitudes as plain numbers")
    if not np.isfinite(image.affine).all():
        raise Refusal("orientation is not a number", "export the file again")
    expected = image.dataobj.offset + image.get_data_dtype().itemsize * math.prod(image.shape)
    if _length(stream) < expected:
        raise Refusal("truncated", "copy the file again")


def _length(stream: BufferedIOBase) -> int:
    """Bytes up to the end; reading a gzip so far also checks its checksum, which nibabel leaves out."""
    stream.seek(0)
    try:
        length = sum(len(chunk) for chunk in iter(lambda: stream.read(_CHUNK), b""))
    except EOFError:
        raise Refusal("truncated", "copy the file again") from None
    stream.seek(0)
    return length


def _slice(image: Any, position: float, max_pixels: int) -> Any:
    """The image (X, Y, Z) cut down to one axial slice, before any other voxel is read or turned."""
    if len(image.shape) == 2:
        refuse_size(image.shape[0], image.shape[1], max_pixels)
        image = type(image)(np.asarray(image.dataobj, dtype=np.float32)[:, :, None], image.affine)
    # for each stored axis: the body axis closest to it, and 1 or -1 for its direction
    orientation = nib.io_orientation(image.affine)  # type: ignore[no-untyped-call]
    axis = int(np.flatnonzero(orientation[:, 0] == 2)[0])
    last = image.shape[axis] - 1
    index = round(position * last)
    if orientation[axis, 1] < 0:
        index = last - index
    rows, columns = (n for a, n in enumerate(image.shape) if a != axis)
    if min(rows, columns) < 2:
        raise Refusal("a single slice that is not axial", "export axial slices")
    refuse_size(rows, columns, max_pixels)
    return image.slicer[tuple(slice(index, index + 1) if a == axis else slice(None) for a in range(3))]
