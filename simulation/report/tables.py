"""Numbers in rows and columns, with their counts and footnotes, as the template shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

from simulation.report.cells import Cell
from simulation.report.findings import Place

__all__ = ["Column", "Entry", "Row", "Table", "Wanted", "table"]

WIDEST = 8
"""Columns that fit side by side on a printed page."""


@dataclass(frozen=True)
class Entry:
    """A cell of a table: the number, if any, marks of its footnotes, and its counts if they are not the column's."""

    cell: Cell | None
    marks: list[int] = field(default_factory=list)
    counts: str = ""
    chosen: bool = False


@dataclass(frozen=True)
class Column:
    """The head of a column."""

    place: Place
    counts: str
    marks: list[int]


@dataclass(frozen=True)
class Row:
    """A row's head, its kind (for its looks) and its cells."""

    label: str
    kind: str
    marks: list[int]
    entries: list[Entry]


@dataclass(frozen=True)
class Table:
    """Blocks of at most `WIDEST` columns that stand below one another, and the footnotes of all, numbered from 1."""

    caption: str
    blocks: list[tuple[list[Column], list[Row]]]
    notes: list[str]


@dataclass(frozen=True)
class Wanted:
    """A row to be made.

    Attributes:
        label: its head.
        kind: for its looks.
        find: what it has at a place's name; asked once a place.
        chosen: whether that is marked as chosen.
    """

    label: str
    kind: str
    find: Callable[[str], Cell | None]
    chosen: Callable[[str], bool] = lambda _: False

    def __post_init__(self) -> None:
        object.__setattr__(self, "find", cache(self.find))


class _Notes:
    """Numbers notes in the order in which they come up."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def marks(self, parts: Iterable[str]) -> list[int]:
        parts = list(parts)
        self.texts += [part for part in dict.fromkeys(parts) if part not in self.texts]
        return sorted(self.texts.index(part) + 1 for part in parts)


def images(cell: Cell) -> str:
    """How many images are behind a number."""
    return f"{cell.n_healthy} healthy, {cell.n_anomalous} sick"


def table(
    caption: str, places: Sequence[Place], rows: Iterable[Wanted], counts: Callable[[Cell], str] = images
) -> Table | None:
    """The table of all rows and places that have anything; None if nothing has.

    A note that all cells of a column share stands at its head, one that all cells of a row share at the row's, and so
    do `counts`, what is behind a number.
    """
    wanted = [row for row in rows if any(row.find(place.name) for place in places)]
    places = [place for place in places if any(row.find(place.name) for row in wanted)]
    notes = _Notes()
    parts = [places[start : start + WIDEST] for start in range(0, len(places), WIDEST)]
    blocks = [_block(part, wanted, notes, counts) for part in parts]
    return Table(caption, blocks, notes.texts) if blocks else None


def _block(
    places: Sequence[Place], wanted: Sequence[Wanted], notes: _Notes, counts: Callable[[Cell], str]
) -> tuple[list[Column], list[Row]]:
    cells = [[row.find(place.name) for place in places] for row in wanted]
    by_column = [_shared(column) for column in zip(*cells, strict=True)]
    usuals = [_usual(column, counts) for column in zip(*cells, strict=True)]
    columns = [
        Column(place, usual, notes.marks(shared))
        for place, usual, shared in zip(places, usuals, by_column, strict=True)
    ]
    rows = []
    for row, found in zip(wanted, cells, strict=True):
        shared = [part for part in _shared(found) if not all(part in above for above in by_column)]
        marks, entries = notes.marks(shared), []
        for place, cell, usual, above in zip(places, found, usuals, by_column, strict=True):
            own = [part for part in _parts(cell) if part not in shared and part not in above]
            other = counts(cell) if cell and counts(cell) != usual else ""
            entries.append(Entry(cell, notes.marks(own), other, row.chosen(place.name)))
        rows.append(Row(row.label, row.kind, marks, entries))
    return columns, rows


def _parts(cell: Cell | None) -> list[str]:
    return [part for part in cell.note.split("; ") if part] if cell else []


def _shared(cells: Iterable[Cell | None]) -> list[str]:
    """Notes that all of several cells have."""
    notes = [_parts(cell) for cell in cells if cell]
    return [part for part in notes[0] if all(part in other for other in notes)] if len(notes) > 1 else []


def _usual(cells: Iterable[Cell | None], counts: Callable[[Cell], str]) -> str:
    return Counter(counts(cell) for cell in cells if cell).most_common(1)[0][0]
