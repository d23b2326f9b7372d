"""What an importer finds in a folder, and how it looks for it."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ra_core.data import Box, Label
from ra_core.data.scan import walk
from ra_core.errors import DataError

__all__ = [
    "Listed",
    "Listing",
    "by_stem",
    "corner_box",
    "csv_rows",
    "files",
    "find_one",
    "finding",
    "found_as",
    "number",
    "text_of",
]


@dataclass(frozen=True)
class Listed:
    """One image of a public set.

    Attributes:
        path: relative to the set's folder, with forward slashes.
        patient: the same text for all images of a patient.
        label: healthy or anomalous.
        pathology: findings joined by commas.
        boxes: around them.
        lesion_mask: relative to the set's folder; empty where there is none.
    """

    path: str
    patient: str
    label: Label
    pathology: str = ""
    boxes: tuple[Box, ...] = ()
    lesion_mask: str = ""


@dataclass
class Listing:
    """All of them.

    Attributes:
        images: in the order of the paths.
        left: how many images or patients are left aside, by why.
        notes: what whoever uses the set has to know of this copy.
    """

    images: list[Listed] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def files(source: Path, end: str) -> Iterator[str]:
    """Files under the set's folder whose names end in `end`, whatever its case, in the order of the paths.

    Raises:
        DataError: `source` is no folder.
    """
    return (found.path for found in walk(source) if found.reason is None and found.path.lower().endswith(end.lower()))


def found_as(source: Path, name: str) -> list[str]:
    """Files of this name under the set's folder, whatever its case.

    Raises:
        DataError: `source` is no folder.
    """
    return [path for path in files(source, name) if path.rsplit("/", 1)[-1].lower() == name.lower()]


def find_one(source: Path, name: str, where: str) -> Path:
    """The one file of this name under the set's folder.

    Raises:
        DataError: there is none, or several; `where` says where it is from.
    """
    found = found_as(source, name)
    if len(found) != 1:
        how_many = f"{len(found)} files" if found else "no file"
        raise DataError(f"{source}: {how_many} called {name}", f"exactly one is needed: {where}")
    return source / found[0]


def by_stem(source: Path, paths: Iterable[str]) -> dict[str, str]:
    """Files by their names without the four characters of the end, in the order of the paths.

    Raises:
        DataError: two have one name.
    """
    found: dict[str, str] = {}
    for path in paths:
        stem = path.rsplit("/", 1)[-1][:-4]
        if found.setdefault(stem, path) != path:
            raise DataError(f"{source}: two files are called alike in its folders", "leave one copy of the set there")
    return found


def text_of(path: Path) -> str:
    """The file's text.

    Raises:
        DataError: it can't be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: can't be read ({type(error).__name__})", "download it again") from None


def csv_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV with a header, cells without spaces around them.

    Raises:
        DataError: it can't be read, or lacks one of `columns`.
    """
    reader = csv.DictReader(io.StringIO(text_of(path), newline=""))
    try:
        missing = sorted(set(columns) - set(reader.fieldnames or ()))
        if missing:
            raise DataError(f"{path}: no column '{missing[0]}'", "take the file as its authors give it")
        return [{name: (row[name] or "").strip() for name in columns} for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}: not valid CSV ({error})", "download it again") from None


def number(text: str, path: Path) -> float:
    """A number of a table.

    Raises:
        DataError: it is none, or not finite.
    """
    if not re.fullmatch(r"-?\d+(\.\d*)?([eE][-+]?\d+)?", text, re.ASCII):
        raise DataError(f"{path}: a cell that should hold a number doesn't", "take the file as its authors give it")
    return float(text)


def corner_box(row: Mapping[str, str], path: Path) -> Box:
    """The box of a row that has its upper left corner as `x` and `y`, its `width` and its `height`.

    Raises:
        DataError: one is no number, or not finite.
    """
    x, y, width, height = (number(row[name], path) for name in ("x", "y", "width", "height"))
    return Box(x, y, x + width, y + height)


def finding(names: Iterable[str]) -> str:
    """Several findings as a manifest has them: distinct, sorted, joined by commas."""
    return ", ".join(sorted({re.sub(r"\s*[,;]\s*", " ", name).strip() for name in names} - {""}))
