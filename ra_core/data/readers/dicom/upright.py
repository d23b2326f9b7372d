"""Which turn makes a picture upright, as radiologists look at it."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ra_core.data.readers.dicom.values import texts
from ra_core.data.readers.turn import STAYS, Turn

__all__ = ["turn_of"]

Vector = NDArray[np.float64]

# Where columns and rows run to in an upright picture, in patient axes (left, back, head), by the axis across it.
_UPRIGHT = (
    (np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, -1.0])),  # sagittal: the front on the left, the head up
    (np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, -1.0])),  # coronal: the body's right on the left, the head up
    (np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])),  # axial: the body's right on the left, the front up
)
_LETTERS = re.compile("[LRAPHF]{1,3}")


def turn_of(ds: Dataset, directions: tuple[Vector, Vector] | None) -> Turn:
    """The turn by multiples of 90 degrees, mirrored where need be, after which a picture is nearest to upright.

    A slice is turned by its directions, anything else by PatientOrientation (DICOM PS3.3 C.7.6.1.1.1). A film of which
    neither side runs to head or feet stays as it is stored.

    Args:
        ds: the header.
        directions: unit vectors along a row and down a column; None where not said.
    """
    return _of_film(texts(ds, "PatientOrientation")) if directions is None else _of_slice(*directions)


def _of_slice(along: Vector, down: Vector) -> Turn:
    rightwards, downwards = _UPRIGHT[int(np.argmax(np.abs(np.cross(along, down))))]
    across = abs(along @ downwards) + abs(down @ rightwards) > abs(along @ rightwards) + abs(down @ downwards)
    if across:
        along, down = down, along
    return Turn(bool(across), bool(down @ downwards < 0), bool(along @ rightwards < 0))


def _of_film(sides: tuple[str, ...]) -> Turn:
    """By the first letters, which are the main directions of a row and of a column.

    Left goes to the right of the picture. The front of a lateral film stays on the side where it is; one that lies on
    its side is rotated.
    """
    if len(sides) != 2 or not all(map(_LETTERS.fullmatch, sides)):
        return STAYS
    along, down = sides[0][0], sides[1][0]
    across = along in "HF"
    if across:
        along, down = down, along
    if along in "HF" or down not in "HF":
        return STAYS
    flip_rows = down == "H"
    lateral = along in "AP"
    return Turn(across, flip_rows, across and not flip_rows if lateral else along == "R")
