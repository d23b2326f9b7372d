"""Curves as the numbers of an SVG drawing, whose colours and dashes are the page's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Chart", "Curve", "chart"]

WIDTH, HEIGHT = 400, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 10, 40
"""Margins around the curves, for numbers and labels."""

LOOKS = 9
"""Curves that look different, and so are drawn; the others would hide them."""

SMALLEST = 1e-12
"""Numbers that are not above have no place on a logarithmic axis."""

MOST_DECADES = 7
"""Beyond, round numbers are too many."""

_MANTISSAS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 6, 8), tuple(m / 10 for m in range(10, 100, 2)))
"""From coarse to fine: the numbers that are marked within a decade."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """One curve: its name, its points in the drawing, and which of the looks it has."""

    name: str
    points: tuple[Point, ...]
    look: int


@dataclass(frozen=True)
class Chart:
    """A drawing.

    Attributes:
        title, x_label, y_label: in words.
        curves: as many as look different.
        left_out: how many more there are.
        x_ticks, y_ticks: places in the drawing, and their numbers.
    """

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    left_out: int
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def chart(title: str, x_label: str, y_label: str, lines: Mapping[str, Mapping[int, float]]) -> Chart | None:
    """Place curves on axes that hold them all; the y axis is logarithmic where no number is about 0 or below.

    Args:
        title: in words.
        x_label: of the x axis.
        y_label: of the y axis.
        lines: numbers by x, by the curve's name; one without numbers isn't drawn, but keeps its look.

    Returns:
        The drawing; None where there is nothing to draw.
    """
    drawn = [(look, name, numbers) for look, (name, numbers) in enumerate(lines.items()) if numbers and look < LOOKS]
    if not drawn:
        return None
    xs = sorted({x for _, _, numbers in drawn for x in numbers})
    ys = [y for _, _, numbers in drawn for y in numbers.values()]
    log = min(ys) > SMALLEST
    low, high = _stretched(*(_scaled(y, log) for y in (min(ys), max(ys))))
    x_low, x_high = (xs[0], xs[-1]) if xs[-1] > xs[0] else (xs[0] - 1, xs[0] + 1)

    def across(x: float) -> float:
        return round(LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT), 1)

    def up(y: float) -> float:
        return round(HEIGHT - BOTTOM - (_scaled(y, log) - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    return Chart(
        title,
        x_label,
        y_label + (", logarithmic" if log else ""),
        tuple(
            Curve(name, tuple((across(x), up(y)) for x, y in sorted(numbers.items())), look)
            for look, name, numbers in drawn
        ),
        max(0, len(lines) - LOOKS),
        tuple((across(x), f"{x}") for x in _few(xs)),
        tuple((up(y), _short(y)) for y in _marks(low, high, log)),
    )


def _scaled(y: float, log: bool) -> float:
    return math.log10(y) if log else y


def _stretched(low: float, high: float) -> tuple[float, float]:
    """A little room at both ends, and some where all numbers are alike."""
    room = 0.06 * (high - low) or 0.1 * max(abs(low), 1.0)
    return low - room, high + room


def _few(xs: Sequence[int], most: int = 6) -> list[int]:
    """Numbers among these that are far enough from each other to be told apart, the last among them."""
    step = math.ceil(len(xs) / most)
    return list(reversed(xs[::-1][::step]))


def _marks(low: float, high: float, log: bool) -> list[float]:
    """Numbers within the axis, from three to seven; on a logarithmic one, round ones if there are so many."""
    for mantissas in _MANTISSAS if log and high - low < MOST_DECADES else ():
        numbers = [m * 10.0**e for e in range(math.floor(low), math.ceil(high) + 1) for m in mantissas]
        within = [y for y in numbers if low <= math.log10(y) <= high]
        if 3 <= len(within) <= 7:
            return within
    evenly = [low + (high - low) * share for share in (0.1, 0.3, 0.5, 0.7, 0.9)]
    return [10.0**y for y in evenly] if log else evenly


def _short(y: float) -> str:
    """Three digits that count."""
    return f"{y:.3g}".replace("-", "−")
