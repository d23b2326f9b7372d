"""Where pictures lie in the patient: order along the stack, spacing, tilt (DICOM PS3.3 C.7.6.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ra_core.data.readers.dicom.groups import macro
from ra_core.data.readers.dicom.values import numbers
from ra_core.data.readers.refusal import Reason, Refusal
from ra_core.data.readers.source import Note

__all__ = ["Stack", "is_tilted", "spacing_of", "stack_of"]

Point = tuple[float, float, float]

_PARALLEL = 0.99
"""Cosine between normals of one stack, at least: 8 degrees."""

_TILT = 0.02
"""Of the way from the first slice to the last, the share that goes sideways in a tilted stack: about 1 degree."""


@dataclass(frozen=True)
class Stack:
    """Frames of a file in the order of space.

    Attributes:
        order: numbers of the frames in the file.
        normal: unit vector that the order follows, in patient axes (left, back, head); None where not said.
        origins: millimetres of each picture's upper left pixel; None where not said.
        notes: what could not be known.
    """

    order: tuple[int, ...]
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
    and only the volume that is asked for is taken. Where a frame has no place, all stay in the file's order.

    Raises:
        Refusal: stacks of several directions, or fewer volumes than asked for.
    """
    planes = [_plane(ds, frame, frames) for frame in range(frames)]
    known = [plane for plane in planes if plane is not None]
    if len(known) < frames:
        return Stack(tuple(range(frames)), notes=(Note.FRAMES_IN_FILE_ORDER,) if frames > 1 else ())
    normal = known[0][0]
    if min(np.dot(normal, other) for other, _ in known) < _PARALLEL:
        raise Refusal(Reason.UNSUPPORTED_CONTENT, "stacks of several directions in one file", "export each by itself")
    depths = [round(float(np.dot(origin, normal)), 2) for _, origin in known]  # to 0.01 mm
    chosen, notes = _volume(depths, volume)
    order = sorted(chosen, key=lambda frame: depths[frame])
    origins = tuple(_point(known[frame][1]) for frame in order)
    return Stack(tuple(order), _point(normal), origins, notes)


def is_tilted(origins: Sequence[Point], normal: Point) -> bool:
    """Whether slices move sideways along the stack, as with a tilted gantry.

    Args:
        origins: upper left pixels, in the order of the stack.
        normal: unit vector across the slices.
    """
    way = np.subtract(origins[-1], origins[0])
    along = float(np.dot(way, normal))
    return bool(np.linalg.norm(way - along * np.asarray(normal)) > _TILT * abs(along) > 0)


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


def _plane(ds: Dataset, frame: int, frames: int) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Normal and origin of a frame. Those at the top of the header are a single frame's."""
    top = ds if frames == 1 else None
    turned = macro(ds, frame, "PlaneOrientationSequence") or top
    placed = macro(ds, frame, "PlanePositionSequence") or top
    directions = None if turned is None else numbers(turned, "ImageOrientationPatient", 6)
    origin = None if placed is None else numbers(placed, "ImagePositionPatient", 3)
    if directions is None or origin is None:
        return None
    normal = np.cross(directions[:3], directions[3:])
    length = float(np.linalg.norm(normal))
    if not 0.9 < length < 1.1:  # no two unit vectors at right angles
        return None
    return _forwards(normal / length), np.asarray(origin)


def _forwards(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """The normal or its opposite: to the left, to the front or to the head."""
    axis = int(np.argmax(np.abs(normal)))
    wanted = -1.0 if axis == 1 else 1.0  # DICOM's second axis points to the back
    return normal if normal[axis] * wanted > 0 else -normal


def _point(vector: NDArray[np.float64]) -> Point:
    return float(vector[0]), float(vector[1]), float(vector[2])
