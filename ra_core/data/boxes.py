"""Boxes around anomalies, as a manifest writes them: `x0 y0 x1 y1; x0 y0 x1 y1`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Box", "boxes_text", "parse_boxes"]

_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)


class Box(NamedTuple):
    """A rectangle on a picture, in pixels from its upper left corner: half-open, so `right - left` columns wide."""

    left: float
    top: float
    right: float
    bottom: float


def parse_boxes(text: str) -> tuple[Box, ...]:
    """The boxes of a cell; none of an empty one.

    Raises:
        ValueError: one is not four numbers of at least 0, or is empty; says which, and nothing of the text.

    >>> parse_boxes("10 20 30.5 40; 0 0 8 8")
    (Box(left=10.0, top=20.0, right=30.5, bottom=40.0), Box(left=0.0, top=0.0, right=8.0, bottom=8.0))
    """
    parts = text.split(";") if text.strip() else []
    return tuple(_box(part.split(), number) for number, part in enumerate(parts, start=1))


def _box(words: list[str], number: int) -> Box:
    if len(words) != 4 or not all(map(_NUMBER.fullmatch, words)):
        raise ValueError(f"box {number} is not four numbers")
    box = Box(*map(float, words))
    if box.left >= box.right or box.top >= box.bottom:
        raise ValueError(f"box {number} ends before it begins")
    return box


def boxes_text(boxes: Iterable[Box]) -> str:
    """What `parse_boxes` reads, to a hundredth of a pixel.

    >>> boxes_text([Box(10, 20, 30.504, 40), Box(0, 0, 8, 8)])
    '10 20 30.5 40; 0 0 8 8'
    """
    return "; ".join(" ".join(f"{round(end, 2):.12g}" for end in box) for box in boxes)
