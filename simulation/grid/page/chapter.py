"""What the chapters of the page are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulation.grid.page.numbers import Asked
from simulation.grid.page.words import Point
from simulation.report.cells import Cell
from simulation.report.findings import Place
from simulation.report.sections import Section
from simulation.report.tables import Wanted

__all__ = ["MEAN", "Chapter", "average", "by_title", "column", "heads", "sites"]

MEAN = "mean over trained sites"

Find = Callable[[str], Cell | None]


@dataclass(frozen=True)
class Chapter:
    """A question.

    Attributes:
        anchor: within the page.
        title: the question.
        text: how it is answered.
        points: the answer in words.
        sections: tables and figures.
        lacking: what is said where there are none.
    """

    anchor: str
    title: str
    text: str
    sections: Sequence[Section]
    lacking: str
    points: Sequence[Point] = ()


def sites(names: Sequence[str], kind: str = "trained") -> list[Place]:
    """Columns, one a site."""
    return [Place(name, kind) for name in names]


def average(names: Sequence[str]) -> list[Place]:
    """A column for the mean over sites, where there are several."""
    return [Place(MEAN, "average")] if len(names) > 1 else []


def heads(asked: Sequence[Asked]) -> list[Place]:
    """Columns, one a number."""
    return [Place(one.title, "") for one in asked]


def column(asked: Asked, rows: Sequence[Wanted]) -> dict[str, Cell]:
    """What there is in one column, by the rows' heads."""
    return {row.label: found for row in rows if (found := row.find(asked.title))}


def by_title(asked: Sequence[Asked], find: Callable[..., Cell | None]) -> Find:
    """Looks a column up by its head."""
    named = {one.title: one for one in asked}
    return lambda title: find(asked=named[title])
