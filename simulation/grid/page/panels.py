"""The figures of a study's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ra_core.metrics import Estimate
from simulation.grid.page.numbers import Asked
from simulation.grid.paired import MARGIN
from simulation.report.cells import Cell
from simulation.report.figures import Curve, Series, curves, dots
from simulation.report.sections import Panel, apart, limits, reach

__all__ = ["around", "differences", "grown", "values"]

WIDEST = 0.05
"""Differences are drawn at least this far to either side."""


def values(
    title: str, labels: Sequence[str], cells: Sequence[Cell | None], asked: Asked, ours: str, tag: str = ""
) -> Panel | None:
    """Dots with intervals, the line called `ours` standing out; None where no number is known."""
    if not any(cell and cell.value is not None for cell in cells):
        return None
    series = apart(cells, [label == ours for label in labels])
    chance = 0.5 if asked.metric in ("auroc", "box_auroc") else None
    return Panel(title, tag, dots(title, labels, series, limits(asked.metric, cells), chance))


def around(cells: Sequence[Cell | None]) -> tuple[float, float]:
    """An axis with 0 in its middle that holds all intervals."""
    far = 1.05 * max([WIDEST, *map(abs, reach(cells))])
    return -far, far


def differences(
    title: str,
    labels: Sequence[str],
    cells: Sequence[Cell | None],
    ends: tuple[float, float] | None = None,
    shown: str = "",
) -> Panel | None:
    """Differences with intervals around 0, what counts as none being shaded; None where no number is known.

    Args:
        title: for those who can't see it.
        labels: of the lines, from top to bottom.
        cells: one a line.
        ends: of the axis; made for these cells where none are given.
        shown: title on the page, if another.
    """
    if not any(cell and cell.value is not None for cell in cells):
        return None
    drawn = dots(title, labels, [Series("ours", cells)], ends or around(cells), 0.0, (-MARGIN, MARGIN))
    return Panel(shown or title, "", drawn)


def grown(title: str, found: Mapping[str, Mapping[int, Estimate]]) -> Panel:
    """A line for each method over the number of sites."""
    lines = [
        Curve(name, [(count, one.value) for count, one in by_count.items() if one.value is not None])
        for name, by_count in found.items()
    ]
    return Panel(title, "", curves(f"{title} by number of sites", lines, {}, "sites trained on", shares=True))
