"""`scores.csv`: one row a study, written as soon as it is scored; whoever scores again goes on after the last row."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from ra_core.data.readers.refusal import Reason
from ra_core.errors import ResumeError
from ra_core.files import write_atomically

__all__ = ["Row", "Table"]


@dataclass(frozen=True)
class Row:
    """One study.

    Attributes:
        number: from 1, in the order of scoring; names its other files.
        study: path of its first file.
        kind: dicom, nifti or raster; empty where it can't be opened.
        slices_scored, slices_declared: how many pictures were scored, and how many there are, those outside the range
            of the model included; both are 0 where it can't be opened.
        score: of the picture, or the highest of the volume's slices; None where it was not scored.
        decision: above or below the site's threshold; empty without one.
        threshold: which that is: of pictures by themselves and of volumes there are two; None without one.
        decision_note: `Result.decision_note`; empty where it was not scored.
        highest_slice: number, from 1, of the slice with the highest score; None where it was not scored.
        slices_refused: "reason:count reason:count" of a volume's slices in the model's range that were not scored.
        reason: why it was not scored, or that not all of its results could be written; empty where all is well.
        content: SHA-256 over the bytes of its files.
        model: `Model.identity`.
    """

    number: int
    study: str
    kind: str = ""
    slices_scored: int = 0
    slices_declared: int = 0
    score: float | None = None
    decision: str = ""
    threshold: float | None = None
    decision_note: str = ""
    highest_slice: int | None = None
    slices_refused: str = ""
    reason: str = ""
    content: str = ""
    model: str = ""

    @property
    def name(self) -> str:
        """What its other files are called: it tells nothing of file or patient."""
        return f"{self.number:04d}-{self.content[:8]}"

    @property
    def lost(self) -> bool:
        """Whether something ought to have been scored or written and was not."""
        slices = [part.split(":")[0] for part in self.slices_refused.split()]
        return any(code and not (code in set(Reason) and Reason(code).expected) for code in (self.reason, *slices))

    @property
    def complete(self) -> bool:
        """Whether it was scored and all was written."""
        return self.score is not None and not self.reason


COLUMNS = [field.name for field in fields(Row)]


class Table:
    """The file and its rows. A row that is written under a number that is there already takes its place.

    Args:
        path: `scores.csv`; made where it is missing.
        model: `Model.identity`.

    Raises:
        ResumeError: it holds scores of another model or calibration, or is no such file.
    """

    def __init__(self, path: Path, model: str) -> None:
        self.path = path
        self._rows = {row.number: row for row in _load(path)}
        if any(row.model != model for row in self._rows.values()):
            raise ResumeError(
                f"{path.name}: holds scores of another model or calibration",
                "give another --out, or delete the folder",
            )
        self._numbers: dict[tuple[str, str], int] = {}
        for row in self.rows:
            self._remember(row)
        self.tidy()

    @property
    def rows(self) -> list[Row]:
        """By their numbers."""
        return [row for _, row in sorted(self._rows.items())]

    def find(self, study: str, content: str) -> Row | None:
        """The row of a study that has not changed since; or of one that could not be scored, changed or not."""
        number = self._numbers.get((study, content)) or self._numbers.get((study, ""))
        return None if number is None else self._rows[number]

    @property
    def next_number(self) -> int:
        """Of a study that is not known."""
        return max(self._rows, default=0) + 1

    def append(self, row: Row) -> None:
        """Add a row; it is on disk when this returns."""
        with self.path.open("ab") as file:
            file.write(_encoded(_cells(row)))
            file.flush()
            os.fsync(file.fileno())
        self._rows[row.number] = row
        self._remember(row)

    def tidy(self) -> None:
        """Write the file anew: one row a number, in their order."""
        write_atomically(self.path, b"".join(map(_encoded, [COLUMNS, *map(_cells, self.rows)])), mode=0o600)

    def _remember(self, row: Row) -> None:
        self._numbers[row.study, row.content] = row.number
        if row.score is None:
            self._numbers[row.study, ""] = row.number
        elif self._numbers.get((row.study, "")) == row.number:
            del self._numbers[row.study, ""]


def _load(path: Path) -> Iterator[Row]:
    """All whole rows; a process that was killed may have left half of the last one."""
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return
    whole = text[: text.rfind("\n") + 1]
    lines = csv.DictReader(io.StringIO(whole, newline=""))
    if whole and lines.fieldnames != COLUMNS:
        raise ResumeError(f"{path.name}: is no table of scores", "give another --out")
    for number, cells in enumerate(lines, 2):
        try:
            yield _row(cells)
        except (TypeError, ValueError):
            raise ResumeError(
                f"{path.name}, row {number}: is damaged", "delete the row, or give another --out"
            ) from None


def _row(cells: dict[str, str]) -> Row:
    if None in cells or None in cells.values():
        raise ValueError("another number of cells")
    return Row(
        number=int(cells["number"]),
        study=cells["study"],
        kind=cells["kind"],
        slices_scored=int(cells["slices_scored"]),
        slices_declared=int(cells["slices_declared"]),
        score=float(cells["score"]) if cells["score"] else None,
        decision=cells["decision"],
        threshold=float(cells["threshold"]) if cells["threshold"] else None,
        decision_note=cells["decision_note"],
        highest_slice=int(cells["highest_slice"]) if cells["highest_slice"] else None,
        slices_refused=cells["slices_refused"],
        reason=cells["reason"],
        content=cells["content"],
        model=cells["model"],
    )


def _cells(row: Row) -> list[str]:
    return ["" if value is None else str(value) for value in vars(row).values()]  # of a float all digits that count


def _encoded(cells: list[str]) -> bytes:
    """A line; names of files that are no UTF-8 keep their bytes."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue().encode("utf-8", "surrogateescape")
