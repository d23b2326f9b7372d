"""What gets one score: a picture, a volume in one file, a DICOM series of slices, or an array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ra_core.config import Plane
from ra_core.data.readers import Reading, in_range, open_source
from ra_core.data.readers.refusal import Reason
from ra_core.data.readers.source import Facts, Kind, RawImage
from ra_core.errors import DataError

__all__ = ["Study", "array_study", "file_study", "series_study"]

_PLANES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
"""By the patient axis (left, back, head) that their normal is nearest to."""


@dataclass(frozen=True)
class Study:
    """Pictures that get one score together.

    Attributes:
        files: where they are: one file, one a slice of a series, or none for an array.
        kind: what the files are; an array counts as a raster picture.
        count: pictures in it.
        wanted: those that may be scored, ascending; all but the slices outside the range that a model was trained on.
        volume: whether the pictures are slices of a stack.
        picture: reads one, by its number from 0. Raises DataError where it is unfit.
    """

    files: tuple[Path, ...] = field(repr=False)
    kind: Kind
    count: int
    wanted: tuple[int, ...]
    volume: bool
    picture: Callable[[int], RawImage] = field(repr=False)


def file_study(path: Path, reading: Reading) -> Study:
    """All pictures of one file.

    Raises:
        DataError: the file can't be read or is no image; its `code` says why.
    """
    source = open_source(path, reading)
    _refuse_plane(path, source.facts, reading)
    count = source.facts.frames
    wanted = tuple(in_range(count, reading.slices)) if count > 1 else (0,)
    return Study((path,), source.facts.kind, count, wanted, count > 1, source.picture)


def series_study(files: Sequence[Path], reading: Reading) -> Study:
    """Single-slice DICOM files as one volume.

    Args:
        files: in the order of their positions, from feet to head (or back to front, right to left).
        reading: how they are read.

    Raises:
        DataError: they are slices in another plane, or the first can't be read.
    """
    _refuse_plane(files[0], open_source(files[0], reading).facts, reading)
    wanted = tuple(in_range(len(files), reading.slices))
    return Study(tuple(files), "dicom", len(files), wanted, True, lambda index: _slice(files[index], reading))


def array_study(array: NDArray[np.generic], spacing: tuple[float, float] | None) -> Study:
    """A picture (H, W) or a stack of them (D, H, W), all of which are wanted.

    Raises:
        DataError: it has another number of dimensions, no elements, or holds no real numbers.
    """
    if array.ndim not in (2, 3) or not array.size or array.dtype.kind not in "biuf":
        shape = " × ".join(map(str, array.shape))
        raise DataError(
            f"an array of {array.dtype} and shape {shape or '()'} is no picture",
            "give real numbers of shape (H, W) or (D, H, W)",
            Reason.UNSUPPORTED_CONTENT,
        )
    stack = array if array.ndim == 3 else array[None]
    wanted = tuple(range(len(stack)))
    return Study((), "raster", len(stack), wanted, array.ndim == 3, lambda index: _of_array(stack[index], spacing))


def _refuse_plane(path: Path, facts: Facts, reading: Reading) -> None:
    """DICOM slices are scored in the plane that they were taken in; NIfTI volumes are sliced in any."""
    if facts.kind != "dicom" or facts.normal is None:
        return
    plane = _PLANES[int(np.argmax(np.abs(facts.normal)))]
    if plane != reading.plane:
        raise DataError(
            f"{path}: {plane} slices for a model of {reading.plane} ones",
            f"give a series in the {reading.plane} plane",
            Reason.WRONG_PLANE,
        )


def _slice(path: Path, reading: Reading) -> RawImage:
    """The picture of one file of a series, in which a constant picture is an empty slice."""
    try:
        return open_source(path, reading).picture(0)
    except DataError as error:
        if error.code == Reason.CONSTANT_IMAGE:
            raise DataError(error.message, error.hint, Reason.EMPTY_SLICE) from None
        raise


def _of_array(picture: NDArray[np.generic], spacing: tuple[float, float] | None) -> RawImage:
    pixels = np.ascontiguousarray(picture, dtype=np.float32)
    if not np.isfinite(pixels).all():
        raise DataError("some pixels are NaN or infinite", "replace them", Reason.NOT_FINITE)
    if pixels.min() == pixels.max():
        raise DataError("every pixel has the same value", "leave it out", Reason.CONSTANT_IMAGE)
    return RawImage(pixels, spacing, "raster")
