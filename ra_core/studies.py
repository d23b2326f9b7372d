"""What gets one score: a picture, a volume in one file, a DICOM series of slices, or an array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ra_core.config import PreprocessingConfig
from ra_core.data.readers import Reading, in_range, open_source
from ra_core.data.readers.refusal import Reason, Refusal
from ra_core.data.readers.source import Kind, RawImage, Source
from ra_core.data.scan.fit import refuse_unfit
from ra_core.data.scan.planes import other_plane
from ra_core.data.scan.rules import ScanRules
from ra_core.errors import DataError

__all__ = ["Study", "Terms", "array_study", "file_study", "series_study"]


@dataclass(frozen=True)
class Terms:
    """What a model, and the site that uses it, ask of a study.

    Attributes:
        preprocessing: of the model.
        rules: what a header must not contradict, and the site's limits.
    """

    preprocessing: PreprocessingConfig
    rules: ScanRules

    @property
    def reading(self) -> Reading:
        """How files are read."""
        return Reading.of(self.preprocessing, self.rules.limits)


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


def file_study(path: Path, terms: Terms) -> Study:
    """All pictures of one file.

    Raises:
        DataError: the file can't be read, is no image or is not what is asked for; its `code` says why.
    """
    source = _open(path, terms)
    count = source.facts.frames
    wanted = tuple(in_range(count, terms.preprocessing.slices)) if count > 1 else (0,)
    return Study((path,), source.facts.kind, count, wanted, count > 1, source.picture)


def series_study(files: Sequence[Path], terms: Terms) -> Study:
    """Single-slice DICOM files as one volume.

    Args:
        files: in the order of their positions, from feet to head (or back to front, right to left).
        terms: what is asked of them; a slice that does not fit is refused by itself.

    Raises:
        DataError: the first can't be read, or is not what is asked for.
    """
    _open(files[0], terms)
    wanted = tuple(in_range(len(files), terms.preprocessing.slices))
    return Study(tuple(files), "dicom", len(files), wanted, True, lambda index: _slice(files[index], terms))


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


def _open(path: Path, terms: Terms) -> Source:
    """Open a file whose header says nothing against it."""
    source = open_source(path, terms.reading)
    try:
        refuse_unfit(source.facts, terms.rules)
    except Refusal as refusal:
        raise DataError(f"{path}: {refusal.reason}", refusal.hint, refusal.code) from None
    plane = other_plane(source.facts, terms.preprocessing.plane)
    if plane is not None:
        asked = terms.preprocessing.plane
        raise DataError(
            f"{path}: {plane} slices for a model of {asked} ones",
            f"give a series in the {asked} plane",
            Reason.WRONG_PLANE,
        )
    return source


def _slice(path: Path, terms: Terms) -> RawImage:
    """The picture of one file of a series, in which a constant picture is an empty slice."""
    try:
        return _open(path, terms).picture(0)
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
