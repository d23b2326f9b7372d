"""The manifest: a CSV with one row an image that says who is in which split. Its rules are checked on load."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal, cast, get_args

from ra_core.data.boxes import parse_boxes
from ra_core.errors import DataError, ManifestError
from ra_core.files import LARGE, read_bounded

__all__ = ["COLUMNS", "LABELS", "SPLITS", "Label", "Manifest", "Row", "Split", "manifest_bytes"]

Split = Literal["train", "val", "calibration", "test"]
Label = Literal["healthy", "anomalous"]

SPLITS: tuple[Split, ...] = get_args(Split)
"""In the order in which copies are decided: a picture in two splits belongs to the earlier one."""

LABELS: tuple[Label, ...] = get_args(Label)


@dataclass(frozen=True)
class Row:
    """One image. Paths are relative to the data root, with forward slashes; an empty text means "not known".

    `line` is the line of the manifest file on which the row ends, as an editor counts them; `boxes` are around the
    anomalies of a file of one picture, as `ra_core.data.boxes` has them.
    """

    path: str
    site: str
    anatomy: str
    modality: str
    split: Split
    label: Label
    pathology: str
    patient_id: str
    region_mask: str
    source: str
    lesion_mask: str
    line: int
    boxes: str = ""


COLUMNS = tuple(field.name for field in fields(Row) if field.name != "line")
"""All columns, in the order in which we write them; they may be read in any."""

_OPTIONAL = ("pathology", "region_mask", "source", "lesion_mask", "boxes")
_OURS = re.compile("all|healthy|(size|synthetic):.*")
"""Results have groups of test images of these names beside those of pathologies."""
_REQUIRED = tuple(name for name in COLUMNS if name not in _OPTIONAL)


@dataclass(frozen=True)
class _Problem:
    line: int
    message: str
    hint: str


@dataclass(frozen=True)
class Manifest:
    """A manifest whose rules hold. Make it with `Manifest.load`.

    Attributes:
        path: the CSV file.
        root: the data root that the rows' paths are relative to.
        rows: in the file's order.
    """

    path: Path
    root: Path
    rows: tuple[Row, ...]

    @classmethod
    def load(cls, path: Path, root: Path, site: str | None = None) -> Manifest:
        """Read a manifest and check every rule of `docs/data.md`.

        Args:
            path: the CSV file, UTF-8, comma-separated.
            root: the data root; no row may lead out of it.
            site: keep and check only this site's rows, as a hospital holds no other's files.

        Raises:
            DataError: the root is no folder.
            ManifestError: the file can't be read or breaks a rule; tells the first offending line and how many more.
                It names no file, patient or other text of a row, as it is printed where others may look.
        """
        if not root.is_dir():
            raise DataError(
                f"{root}: no such folder", "set the data root to the folder that the manifest's paths are in"
            )
        every = tuple(_rows(path, _text(path)))
        rows = tuple(row for row in every if site in (None, row.site.strip()))  # a space too many is told below
        if not rows:
            there = f"its sites are {', '.join(sorted({row.site for row in every}))}" if every else "add a row an image"
            raise ManifestError(f"{path}: no row" + (f" of site '{site}'" if site else ""), there)
        _refuse(path, list(_problems(rows, Path(os.path.realpath(root)))))
        return cls(path, root, rows)

    def select(
        self, site: str | None = None, split: Split | None = None, label: Label | None = None
    ) -> tuple[Row, ...]:
        """Rows that fit, sorted by path, so that their order in the file doesn't matter; None fits all."""
        wanted = {"site": site, "split": split, "label": label}
        fitting = (r for r in self.rows if all(v in (None, getattr(r, k)) for k, v in wanted.items()))
        return tuple(sorted(fitting, key=lambda row: row.path))


def manifest_bytes(rows: Iterable[Mapping[str, str]]) -> bytes:
    """The file of these rows, by column; `boxes` is left out where no row has any, as versions before it refuse it."""
    every = list(rows)
    columns = [name for name in COLUMNS if name != "boxes" or any(row.get(name) for row in every)]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(every)
    return text.getvalue().encode()


def _refuse(path: Path, problems: list[_Problem]) -> None:
    if problems:
        first, more = problems[0], len(problems) - 1
        also = f" (and {more} more)" if more else ""
        raise ManifestError(f"{path}, line {first.line}: {first.message}{also}", first.hint)


def _text(path: Path) -> str:
    try:
        text = read_bounded(path, LARGE).decode("utf-8-sig")  # spreadsheet programs put a byte order mark in front
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such file", "the site config names it, relative to the data root") from None
    except UnicodeDecodeError:
        raise ManifestError(f"{path}: not UTF-8", "save it as 'CSV UTF-8'") from None
    except OSError as error:
        raise ManifestError(f"{path}: can't be read ({type(error).__name__})", "check the file's rights") from None
    if not text.strip():
        raise ManifestError(f"{path}: empty", f"its first line names the columns: {','.join(COLUMNS)}")
    return text


def _rows(path: Path, text: str) -> Iterator[Row]:
    """The rows as they stand: only the file's structure is checked."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader)
        _refuse(path, list(_header_problems(header)))
        for cells in reader:
            if not cells:
                continue  # an empty line, often the last
            if len(cells) != len(header):
                counts = f"{len(cells)} cells under {len(header)} columns"
                _refuse(path, [_Problem(reader.line_num, counts, 'put a value that holds a comma in "quotes"')])
            if any("\0" in cell for cell in cells):
                _refuse(path, [_Problem(reader.line_num, "a NUL byte", "save the file as text: 'CSV UTF-8'")])
            values = dict.fromkeys(_OPTIONAL, "") | dict(zip(header, cells, strict=True))
            # split and label are checked with the other rules, for the site in question alone
            yield Row(
                **{k: v for k, v in values.items() if k not in ("split", "label")},
                split=cast(Split, values["split"]),
                label=cast(Label, values["label"]),
                line=reader.line_num,
            )
    except csv.Error as error:
        raise ManifestError(f"{path}, line {reader.line_num}: not valid CSV ({error})", "check its quotes") from None


def _header_problems(header: list[str]) -> Iterator[_Problem]:
    known = f"the columns are {', '.join(COLUMNS)}, separated by commas"
    for number, name in enumerate(header, start=1):
        if name not in COLUMNS:
            yield _Problem(1, f"column {number} is unknown", known)
    for name in COLUMNS:
        if header.count(name) > 1:
            yield _Problem(1, f"column '{name}' twice", known)
        if name in _REQUIRED and name not in header:
            yield _Problem(1, f"no column '{name}'", known)


def _problems(rows: Iterable[Row], root: Path) -> Iterator[_Problem]:
    """Broken rules in the order of the file."""
    files: dict[str, int] = {}
    patients: dict[tuple[str, str], Row] = {}
    for row in rows:
        yield from _value_problems(row)
        for column in ("path", "region_mask", "lesion_mask"):
            if getattr(row, column):
                yield from _file_problems(row, column, root)
        first_line = files.setdefault(os.path.realpath(root / row.path), row.line)
        if first_line != row.line:
            yield _Problem(row.line, f"the same image as line {first_line}", "keep one row an image")
        first = patients.setdefault((row.site, row.patient_id), row)
        if row.patient_id and first.split != row.split:  # told by line: a patient's number belongs in no log
            where = f"the patient is in {row.split} here and in {first.split} on line {first.line}"
            yield _Problem(row.line, where, "put all images of a patient into one split")


def _value_problems(row: Row) -> Iterator[_Problem]:
    for name in COLUMNS:
        value: str = getattr(row, name)
        if name in _REQUIRED and not value.strip():
            yield _Problem(row.line, f"empty {name}", f"every row needs {', '.join(_REQUIRED)}")
        elif value != value.strip():  # 'p ' and 'p' would be two patients
            yield _Problem(row.line, f"{name} begins or ends with a space", "take the space away")
    for name, allowed in (("split", SPLITS), ("label", LABELS)):
        value = getattr(row, name)
        if value.strip() and value not in allowed:
            yield _Problem(row.line, f"{name} is none of those allowed", f"{name} is one of {', '.join(allowed)}")
    if row.label == "anomalous" and row.split in ("train", "val", "calibration"):
        yield _Problem(row.line, f"an anomalous image in {row.split}", "only test may hold anomalous images")
    taken = [name for name in re.split("[,;]", row.pathology.lower()) if _OURS.fullmatch(name.strip())]
    if taken:
        yield _Problem(row.line, f"pathology '{taken[0].strip()}' is a name that results use", "call it otherwise")
    for name in ("lesion_mask", "boxes"):
        if row.label == "healthy" and getattr(row, name):
            some = f"a {name}" if name == "lesion_mask" else name
            yield _Problem(row.line, f"a healthy image with {some}", "correct the label or empty the cell")
    try:
        parse_boxes(row.boxes)
    except ValueError as error:
        yield _Problem(row.line, f"boxes: {error}", "write x0 y0 x1 y1 in pixels, with a semicolon between boxes")


def _file_problems(row: Row, column: str, root: Path) -> Iterator[_Problem]:
    name: str = getattr(row, column)
    pure = PureWindowsPath(name)  # knows drives and both slashes
    if "\\" in name or pure.drive or PurePosixPath(name).is_absolute() or ".." in pure.parts:
        hint = "give paths relative to the data root, with forward slashes"
        yield _Problem(row.line, f"{column} is absolute, has '..' or a backslash", hint)
        return
    real = Path(os.path.realpath(root / name))
    if not real.is_relative_to(root):
        hint = "copy the file into the data root"
        yield _Problem(row.line, f"{column} is a link that leaves the data root", hint)
    elif reason := _why_no_file(real):
        yield _Problem(row.line, f"{column}: {reason}", f"it is looked for in {root}")


def _why_no_file(path: Path) -> str:
    """Empty where there is one."""
    try:
        return "" if path.is_file() else "no such file"
    except OSError as error:  # the name is too long, or its folder may not be entered
        return error.strerror or type(error).__name__
