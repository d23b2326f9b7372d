"""How a stored picture is turned to be upright, and back."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ra_core.data.boxes import Box

__all__ = ["STAYS", "Turn", "stored", "upright", "upright_box"]

Pair = TypeVar("Pair", tuple[int, int], tuple[float, float], tuple[float, float] | None)
Kind = TypeVar("Kind", bound=np.generic)


class Turn(NamedTuple):
    """Steps from the stored picture to the upright one, in this order.

    Attributes:
        transpose: rows become columns.
        flip_rows: the last row becomes the first.
        flip_columns: the last column becomes the first.
    """

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def pair(self, of: Pair) -> Pair:
        """What holds for rows and for columns, of the turned picture; the same way there and back; None stays None."""
        return (of[1], of[0]) if of is not None and self.transpose else of


STAYS = Turn()
"""Of a picture that is upright as it is stored, or of which nobody says how it lies."""


def upright(x: NDArray[Kind], turn: Turn) -> NDArray[Kind]:
    """Turn a stored picture (H, W, ...)."""
    return _flipped(x.swapaxes(0, 1) if turn.transpose else x, turn)


def stored(x: NDArray[Kind], turn: Turn) -> NDArray[Kind]:
    """Turn an upright picture or map (H, W, ...) back to the grid that the file stores."""
    flipped = _flipped(x, turn)
    return flipped.swapaxes(0, 1) if turn.transpose else flipped


def upright_box(box: Box, turn: Turn, shape: tuple[int, int]) -> Box:
    """Where a box on the stored picture lies on the upright one, which has `shape` rows and columns."""
    left, top, right, bottom = box
    if turn.transpose:
        left, top, right, bottom = top, left, bottom, right
    if turn.flip_rows:
        top, bottom = shape[0] - bottom, shape[0] - top
    if turn.flip_columns:
        left, right = shape[1] - right, shape[1] - left
    return Box(left, top, right, bottom)


def _flipped(x: NDArray[Kind], turn: Turn) -> NDArray[Kind]:
    return x[:: -1 if turn.flip_rows else 1, :: -1 if turn.flip_columns else 1]
