"""What the chapters of the page are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from simulation.grid.page.data import StudyData
from simulation.grid.page.numbers import Asked, cell, difference
from simulation.grid.page.words import Point
from simulation.report.cells import Cell
from simulation.report.findings import Place
from simulation.report.sections import Section
from simulation.report.tables import Wanted

__all__ = [
    "MEAN",
    "WAYS",
    "Chapter",
    "all_sites",
    "by_title",
    "column",
    "heads",
    "minus",
    "shortcut_at",
    "shortcut_rows",
    "sites",
    "sites_and_mean",
]

MEAN = "mean over trained sites"

WAYS = ("pooled", "fedavg", "local")
"""To train; those that every method may have."""

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


def all_sites(data: StudyData) -> list[Place]:
    """Columns, one a trained site and one a held-out one."""
    return [*sites(data.trained), *sites(data.answers.held_out, "held out")]


def sites_and_mean(names: Sequence[str]) -> list[Place]:
    """Columns, one a trained site, and one for the mean over them where there are several."""
    return [*sites(names), *([Place(MEAN, "average")] if len(names) > 1 else [])]


def heads(titles: Iterable[str]) -> list[Place]:
    """Columns that are no sites."""
    return [Place(title, "") for title in titles]


def column(asked: Asked, rows: Sequence[Wanted]) -> dict[str, Cell]:
    """What there is in one column, by the rows' heads."""
    return {row.label: found for row in rows if (found := row.find(asked.title))}


def minus(data: StudyData, asked: Asked, a: tuple[str, str], b: tuple[str, str], place: str = MEAN) -> Cell | None:
    """Paired difference of two (method, way to train) at a site, or on average over all trained ones."""
    places = data.trained if place == MEAN else (place,)
    ours, theirs = (asked.scoring_of(data.plain(method)) for method, _ in (a, b))
    return difference(data.answers.versus(a, b, asked.metric, places, (ours, theirs)))


def shortcut_rows(data: StudyData, find: Callable[[str], Find]) -> list[Wanted]:
    """One a shortcut; `find` gives what that has in each column."""
    return [Wanted(f"shortcut: {name}", "shortcut", find(name)) for name in data.answers.shortcuts]


def shortcut_at(data: StudyData, asked: Asked, name: str, site: str) -> Cell | None:
    """What a shortcut has at a site, as it is."""
    return cell(data.answers.shortcut(name, site, asked.metric))


def by_title(asked: Sequence[Asked], find: Callable[..., Cell | None]) -> Find:
    """Looks a column up by its head."""
    named = {one.title: one for one in asked}
    return lambda title: find(asked=named[title])
