"""The page's tables as Markdown, to be pasted into a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from simulation.grid.page.chapter import Chapter
from simulation.report.tables import Column, Entry, Row, Table

__all__ = ["as_markdown"]


def as_markdown(
    title: str, command: str, told: Sequence[str], doubts: Sequence[str], chapters: Sequence[Chapter]
) -> str:
    """All chapters: the same cells give the same text.

    Args:
        title: of the study.
        command: that makes it.
        told: paragraphs before the first chapter.
        doubts: what limits the numbers.
        chapters: in their order.
    """
    return "\n".join(_lines(title, command, told, doubts, chapters))


def _lines(
    title: str, command: str, told: Sequence[str], doubts: Sequence[str], chapters: Sequence[Chapter]
) -> Iterator[str]:
    yield f"# {_safe(title)}\n"
    yield f"    {command}\n"
    for paragraph in told:
        yield f"{_safe(paragraph)}\n"
    yield "## What limits these numbers\n"
    yield "".join(f"- {_safe(doubt)}\n" for doubt in doubts)
    for chapter in chapters:
        yield f"## {chapter.title}\n"
        yield f"{_safe(chapter.text if chapter.sections else chapter.lacking)}\n"
        if chapter.points:
            yield "".join(f"- {_safe(point.prose)}\n" for point in chapter.points)
        for section in chapter.sections:
            for table in section.tables:
                yield from _table(table)


def _table(table: Table) -> Iterator[str]:
    for place, (columns, rows) in enumerate(table.blocks):
        part = f" ({place + 1} of {len(table.blocks)})" if len(table.blocks) > 1 else ""
        yield f"**{_safe(table.caption)}{part}**\n"
        yield _line(["", *map(_head, columns)])
        yield _line(["---", *["---:" for _ in columns]])
        yield from map(_row, rows)
        yield ""
    if table.notes:
        yield "".join(f"[{number}] {_safe(note)}.  \n" for number, note in enumerate(table.notes, 1))


def _head(column: Column) -> str:
    out = " (held out)" if column.place.kind == "held out" else ""
    return f"{_safe(column.place.name)}{out}{_marks(column.marks)}<br>{column.counts}"


def _row(row: Row) -> str:
    label = f"{_safe(row.label)}{_marks(row.marks)}"
    return _line([f"**{label}**" if row.kind == "ours" else label, *map(_entry, row.entries)])


def _entry(entry: Entry) -> str:
    if entry.cell is None:
        return "–"
    parts = (entry.cell.text + _marks(entry.marks), entry.cell.extra, entry.counts)
    return _safe("<br>".join(part for part in parts if part), breaks=True)


def _marks(numbers: Sequence[int]) -> str:
    return f" [{', '.join(map(str, numbers))}]" if numbers else ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _safe(text: str, *, breaks: bool = False) -> str:
    """Without what Markdown or HTML would take for its own."""
    parts = text.split("<br>") if breaks else [text]
    for ours, theirs in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        ("|", "\\|"),
        ("\n", " "),
        ("_", "\\_"),
        ("*", "\\*"),
        ("`", "\\`"),
    ):
        parts = [part.replace(ours, theirs) for part in parts]
    return "<br>".join(parts)
