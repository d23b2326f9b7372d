"""Where pictures lie in the patient: order along the stack, spacing, tilt (DICOM PS3.3 C.7.6.2)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ra_core.data.readers.dicom.groups import macro
from ra_core.data.readers.dicom.values import numbers
from ra_core.data.readers.refusal import Reason, Refusal
from ra_core.data.readers.source import Note
from ra_core.data.readers.tilt import Point, is_tilted

__all__ = ["Stack", "spacing_of", "stack_of"]

Vector = NDArray[np.float64]

_PARALLEL = 0.99
"""Cosine between rows, and between columns, of one stack's frames, at least: 8 degrees."""


@dataclass(frozen=True)
class Stack:
    """Frames of a file in the order of space.

    Attributes:
        order: numbers of the frames in the file.
        directions: unit vectors along a row and down a column, in patient axes (left, back, head), of all frames; None
            where not said.
        normal: unit vector that the order follows, in those axes; None where not said.
        origins: millimetres of each picture's upper left pixel; None where not said.
        notes: what could not be known.
    """

    order: tuple[int, ...]
    directions: tuple[Vector, Vector] | None = None
    normal: Point | None = None
    origins: tuple[Point, ...] | None = None
    notes: tuple[Note, ...] = ()

    @property
    def positions(self) -> tuple[float, ...] | None:
        """Millimetres along the normal, ascending."""
        if self.normal is None or self.origins is None:
            return None
        return tuple(float(np.dot(origin, self.normal)) for origin in self.origins)

    @property
    def is_tilted(self) -> bool:
        """Whether there are several pictures, sheared against their normal."""
        return self.normal is not None and self.origins is not None and is_tilted(self.origins, self.normal)


def stack_of(ds: Dataset, frames: int, volume: int) -> Stack:
    """Order a file's frames from feet to head, back to front or right to left, whichever the stack's normal is nearest.

    Frames at one place are echoes or moments: the nth frame of each place, in the file's order, belongs to volume n,
    and only the volume that is asked for is taken. Where a frame has no place, all stay in the file's order; what is
    missing is noticed at the first frame without it.

    Raises:
        Refusal: stacks of several directions, or fewer volumes than asked for.
    """
    directions = _directions(ds, frames)
    origins = None if directions is None else _origins(ds, frames)
    if directions is None or origins is None:
        return Stack(tuple(range(frames)), directions, notes=(Note.FRAMES_IN_FILE_ORDER,) if frames > 1 else ())
    normal = _forwards(np.cross(*directions))
    depths = [round(float(np.dot(origin, normal)), 2) for origin in origins]  # to 0.01 mm
    chosen, notes = _volume(depths, volume)
    order = sorted(chosen, key=lambda frame: depths[frame])
    return Stack(tuple(order), directions, _point(normal), tuple(origins[frame] for frame in order), notes)


def spacing_of(ds: Dataset, frame: int) -> tuple[float, float] | None:
    """Millimetres between rows and between columns; None where not said.

    PixelSpacing goes before what a detector or scanner calls its own, which is not corrected for magnification.

    Raises:
        Refusal: pixels that are not square, without a spacing in millimetres.
    """
    measures = macro(ds, frame, "PixelMeasuresSequence")
    for place in (ds,) if measures is None else (measures, ds):
        for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
            found = numbers(place, name, 2)
            if found and min(found) > 0:
                return found[0], found[1]
    aspect = numbers(ds, "PixelAspectRatio", 2)
    if aspect and aspect[0] != aspect[1]:
        raise Refusal(Reason.UNSUPPORTED_CONTENT, "pixels that are not square, and no spacing", "export it with one")
    return None


def _volume(depths: list[float], volume: int) -> tuple[list[int], tuple[Note, ...]]:
    """Frames of the asked volume, in the file's order."""
    seen: Counter[float] = Counter()
    turns = []
    for depth in depths:
        turns.append(seen[depth])
        seen[depth] += 1
    volumes = max(turns) + 1
    if volumes == 1:
        return list(range(len(depths))), ()
    if volume >= volumes:
        raise Refusal(
            Reason.NOT_3D, f"{volumes} volumes in it, so there is no number {volume}", "set preprocessing.volume"
        )
    return [frame for frame, turn in enumerate(turns) if turn == volume], (Note.FIRST_VOLUME,)


def _directions(ds: Dataset, frames: int) -> tuple[Vector, Vector] | None:
    """Those of the first frame, from which no other may differ; at the top of the header, they are a single frame's."""
    top = ds if frames == 1 else None
    first = None
    for frame in range(frames):
        found = _directions_of(ds, frame, top)
        if found is None:
            return None
        first = first or found
        if min(np.dot(first[0], found[0]), np.dot(first[1], found[1])) < _PARALLEL:
            reason = "stacks of several directions in one file"
            raise Refusal(Reason.UNSUPPORTED_CONTENT, reason, "export each by itself")
    return first


def _directions_of(ds: Dataset, frame: int, top: Dataset | None) -> tuple[Vector, Vector] | None:
    place = macro(ds, frame, "PlaneOrientationSequence") or top
    found = None if place is None else numbers(place, "ImageOrientationPatient", 6)
    if found is None:
        return None
    along, down = np.asarray(found[:3]), np.asarray(found[3:])
    lengths = np.linalg.norm(along), np.linalg.norm(down)
    if not all(0.9 < length < 1.1 for length in (*lengths, np.linalg.norm(np.cross(along, down)))):
        return None  # no two unit vectors at right angles
    return along / lengths[0], down / lengths[1]


def _origins(ds: Dataset, frames: int) -> list[Point] | None:
    """Each frame's, in the file's order."""
    top = ds if frames == 1 else None
    origins = []
    for frame in range(frames):
        place = macro(ds, frame, "PlanePositionSequence") or top
        origin = None if place is None else numbers(place, "ImagePositionPatient", 3)
        if origin is None:
            return None
        origins.append((origin[0], origin[1], origin[2]))
    return origins


def _forwards(normal: Vector) -> Vector:
    """A normal of length 1, or its opposite: to the left, to the front or to the head."""
    normal = normal / np.linalg.norm(normal)
    axis = int(np.argmax(np.abs(normal)))
    wanted = -1.0 if axis == 1 else 1.0  # DICOM's second axis points to the back
    return normal if normal[axis] * wanted > 0 else -normal


def _point(vector: Vector) -> Point:
    return float(vector[0]), float(vector[1]), float(vector[2])
