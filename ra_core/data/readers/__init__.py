"""Files to pixels: DICOM, NIfTI and raster pictures, told apart by their content; what is unfit is refused by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ra_core.data.readers.raster import open_raster
from ra_core.data.readers.reading import USUAL, Reading, in_range, refuse_shape
from ra_core.data.readers.refusal import Reason, Refusal
from ra_core.data.readers.sniff import sniff
from ra_core.data.readers.source import Facts, Kind, Note, RawImage, Source
from ra_core.data.readers.turn import STAYS, Turn, stored, upright, upright_box
from ra_core.errors import DataError

__all__ = [
    "READER_VERSION",
    "Facts",
    "Kind",
    "Note",
    "RawImage",
    "Reading",
    "Reason",
    "Source",
    "Turn",
    "in_range",
    "kind_of",
    "open_mask",
    "open_source",
    "pictures",
    "read_pixels",
    "stored",
    "upright",
    "upright_box",
    "usable",
]

READER_VERSION = 3
"""Raised with every change of reading or preprocessing, so that caches of older pixels are not used."""

_SAME_PLACE = 0.1  # mm


def _open_dicom(path: Path, reading: Reading) -> Source:
    from ra_core.data.readers.dicom import open_dicom  # noqa: PLC0415 - with cached images no round needs pydicom

    return open_dicom(path, reading)


def _open_nifti(path: Path, reading: Reading) -> Source:
    from ra_core.data.readers.nifti import open_nifti  # noqa: PLC0415 - nor nibabel

    return open_nifti(path, reading)


_OPEN: dict[Kind, Callable[[Path, Reading], Source]] = {
    "dicom": _open_dicom,
    "nifti": _open_nifti,
    "raster": open_raster,
}


def open_source(path: Path, reading: Reading = USUAL) -> Source:
    """Open one file: its facts are known at once, its pictures are decoded one by one.

    A raster is one picture, which is decoded here already.

    Args:
        path: the file; its name and suffix don't matter, its content does.
        reading: plane, window and limits.

    Returns:
        A source whose pictures are finite, not constant and of a fit size: `picture` raises DataError where one isn't.

    Raises:
        DataError: the file can't be read, is damaged, or is of a kind that is not read; its `code` is a `Reason`.
    """
    with _told(path):
        return _Fit(path, reading, _OPEN[sniff(path)](path, reading))


def kind_of(path: Path) -> Kind:
    """What a file is by its first bytes.

    Raises:
        DataError: it is nothing that is read.
    """
    with _told(path):
        return sniff(path)


def pictures(source: Source, reading: Reading = USUAL) -> Iterator[tuple[int, RawImage | None]]:
    """Frames in the asked range, each with its picture: None for the empty slices that a volume often ends with.

    Raises:
        DataError: a frame is unfit for any other reason.
    """
    for index in in_range(source.facts.frames, reading.slices):
        try:
            raw = source.picture(index)
        except DataError as error:
            if error.code != Reason.EMPTY_SLICE:
                raise
            raw = None
        yield index, raw


def usable(source: Source, reading: Reading = USUAL) -> list[int]:
    """Frames in the asked range, without empty slices.

    Raises:
        DataError: a frame is unfit for any other reason.
    """
    return [index for index, raw in pictures(source, reading) if raw is not None]


def read_pixels(path: Path, reading: Reading = USUAL, frame: int = 0) -> RawImage:
    """One picture of a file.

    Raises:
        DataError: as `open_source` and its pictures.
    """
    return open_source(path, reading).picture(frame)


def open_mask(path: Path, image: Facts, reading: Reading = USUAL) -> Source:
    """Open the mask of an image: 0 is outside, the one other value that a picture of it may hold is inside.

    Where the mask or the image doesn't say how it lies in the body, the mask is taken to be drawn on the picture as the
    image's file stores it, and is turned as that is.

    Args:
        path: the mask; of the same kind as the image or not.
        image: facts of the image, opened with the same `reading`.
        reading: plane and limits.

    Returns:
        A source whose pictures hold 0 and 1: `picture` raises DataError where one has several values.

    Raises:
        DataError: it can't be read, or doesn't lie on the image's grid.
    """
    with _told(path):
        mask = _Mask(path, _OPEN[sniff(path)](path, replace(reading, window="none")), image)
        _refuse_other_grid(mask.facts, image)
        return mask


@dataclass(frozen=True)
class _Fit:
    """A source that refuses the pictures that nothing can be learnt from, and tells all by DataError."""

    path: Path
    reading: Reading
    source: Source

    @property
    def facts(self) -> Facts:
        return self.source.facts

    def picture(self, index: int) -> RawImage:
        with _told(self.path):
            refuse_shape(self.facts.shape, self.facts.spacing, self.reading)
            raw = self.source.picture(index)
            _refuse_values(raw.pixels, self.facts.frames)
            return raw


@dataclass(frozen=True)
class _Mask:
    """A source whose pictures say what is inside."""

    path: Path
    source: Source
    image: Facts

    @property
    def facts(self) -> Facts:
        facts, turn = self.source.facts, self._turn
        shape, spacing = turn.pair(facts.turn.pair(facts.shape)), turn.pair(facts.turn.pair(facts.spacing))
        return replace(facts, shape=shape, spacing=spacing, turn=turn)

    @property
    def _turn(self) -> Turn:
        """Its own, if both say how they lie, else the image's."""
        mine = self.source.facts
        return mine.turn if _says_how_it_lies(mine) and _says_how_it_lies(self.image) else self.image.turn

    def picture(self, index: int) -> RawImage:
        with _told(self.path):
            raw = self.source.picture(index)
            pixels = upright(stored(raw.pixels, raw.turn), self._turn)
            inside = pixels != 0
            if np.unique(pixels[inside]).size > 1:
                hint = "save it lossless, with 0 outside and 255 inside"
                raise Refusal(Reason.MASK_NOT_BINARY, "a mask with more than two values", hint)
            return RawImage(inside.astype(np.float32), self.facts.spacing, raw.kind, raw.notes, self._turn)


def _says_how_it_lies(facts: Facts) -> bool:
    return facts.kind == "nifti" or facts.normal is not None or facts.turn != STAYS


def _refuse_values(pixels: NDArray[np.float32], frames: int) -> None:
    if not np.isfinite(pixels).all():
        raise Refusal(Reason.NOT_FINITE, "some pixels are NaN or infinite", "export the file again")
    if pixels.min() == pixels.max():
        code = Reason.EMPTY_SLICE if frames > 1 else Reason.CONSTANT_IMAGE
        raise Refusal(code, "every pixel has the same value", "leave it out")


def _refuse_other_grid(mask: Facts, image: Facts) -> None:
    if (mask.frames, *mask.shape) != (image.frames, *image.shape):
        mine, its = (f"{facts.frames} × {facts.shape[0]} × {facts.shape[1]}" for facts in (mask, image))
        reason = f"a mask of {mine} pixels for an image of {its}"
    elif mask.origins and image.origins and not np.allclose(mask.origins, image.origins, atol=_SAME_PLACE):
        reason = "a mask that lies elsewhere than its image"
    else:
        return
    raise Refusal(Reason.MASK_OTHER_GRID, reason, "draw the mask on the image's own grid")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Whatever goes wrong with a file becomes a DataError that names the file and the reason.

    The libraries raise whatever they like on damaged files. What they say, in warnings too, may quote a patient's data.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except Refusal as refusal:
        raise DataError(f"{path}: {refusal.reason}", refusal.hint, refusal.code) from None
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such file", "correct its name or bring the file back", Reason.MISSING) from None
    except PermissionError:
        raise DataError(
            f"{path}: may not be read", "give this account the right to read it", Reason.NO_ACCESS
        ) from None
    except Exception as error:
        reason = f"damaged or not readable ({type(error).__name__})"
        raise DataError(f"{path}: {reason}", "export the file again", Reason.DAMAGED) from None
