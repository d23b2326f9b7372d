"""GRAZPEDWRI-DX: wrist radiographs of children, 16-bit PNG, with `dataset.csv` and YOLO boxes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import PIL.Image

from ra_core.data import Box
from ra_core.errors import DataError
from simulation.importers.listing import Listed, Listing, by_stem, csv_rows, files, find_one, finding, number, text_of

__all__ = ["read_grazpedwri"]

_CLASSES = (
    *("boneanomaly", "bonelesion", "foreignbody", "fracture", "metal"),
    *("periostealreaction", "pronatorsign", "softtissue", "text"),
)
"""By number, as the set's yolov5/meta.yaml has them. Text is the letter that tells the side: no finding."""

_FLAGS = {"cast": "cast", "osteopenia": "osteopenia", "fracture_visible": "fracture", "metal": "metal"}
"""Columns of dataset.csv that name a finding."""

_DOUBTS = ("diagnosis_uncertain", "ao_classification")
"""Columns that speak against calling a film healthy, though nothing is to be seen on it."""


def read_grazpedwri(source: Path) -> Listing:
    """All films. Healthy is one without a box of a finding, and without a flag or a doubt in the table.

    The authors' lists of normals have patients in training and test alike; here patients are drawn as everywhere.

    Raises:
        DataError: the table or the boxes are not there, or not as they should be.
    """
    table = find_one(source, "dataset.csv", "it is one of the set's files at figshare")
    boxes = by_stem(source, (path for path in files(source, ".txt") if "/labels/" in f"/{path}"))
    if not boxes:
        raise DataError(f"{source}: no YOLO boxes", "unpack folder_structure.zip, which holds yolov5/labels")
    films = by_stem(source, files(source, ".png"))
    listing, without = Listing(), 0
    rows = {row["filestem"]: row for row in csv_rows(table, ("filestem", "patient_id", *_FLAGS, *_DOUBTS))}
    for stem, path in films.items():
        if stem not in rows:
            listing.left["films that dataset.csv doesn't name"] += 1
            continue
        without += stem not in boxes
        found = _boxes(source / boxes[stem], source / path) if stem in boxes else []
        _add(listing, path, rows[stem], found)
    if missing := len(rows.keys() - films.keys()):
        listing.left["films of dataset.csv that are not here"] += missing
    if without:
        listing.notes.append(f"{without} films have no file of boxes, and count as having none")
    return listing


def _add(listing: Listing, path: str, row: Mapping[str, str], found: list[tuple[str, Box]]) -> None:
    names = {name for name, _ in found} | {name for column, name in _FLAGS.items() if _is_set(row[column])}
    boxes = tuple(box for _, box in found)
    if names:
        listing.images.append(Listed(path, row["patient_id"], "anomalous", finding(names), boxes))
    elif any(_is_set(row[column]) for column in _DOUBTS):
        listing.left["films with a doubtful or unseen fracture"] += 1
    else:
        listing.images.append(Listed(path, row["patient_id"], "healthy"))


def _is_set(cell: str) -> bool:
    return cell.lower() not in ("", "0", "0.0", "nan", "false")


def _boxes(labels: Path, film: Path) -> list[tuple[str, Box]]:
    """Findings with their boxes: YOLO has a class, and centre and size as shares of the picture's width and height."""
    lines = [line.split() for line in text_of(labels).splitlines() if line.strip()]
    if any(len(line) != 5 or not line[0].isdecimal() or int(line[0]) >= len(_CLASSES) for line in lines):
        raise DataError(f"{labels}: not a class of 0 to {len(_CLASSES) - 1} and four numbers a line", "unpack it again")
    drawn = [line for line in lines if _CLASSES[int(line[0])] != "text"]
    if not drawn:
        return []
    try:
        with PIL.Image.open(film) as picture:  # its header alone
            width, height = picture.size
    except OSError as error:
        raise DataError(f"{film}: can't be read ({type(error).__name__})", "unpack it again") from None
    found = []
    for line in drawn:
        x, y, w, h = (number(word, labels) for word in line[1:])
        left, right = (min(max(end * width, 0), width) for end in (x - w / 2, x + w / 2))
        top, bottom = (min(max(end * height, 0), height) for end in (y - h / 2, y + h / 2))
        found.append((_CLASSES[int(line[0])], Box(left, top, right, bottom)))
    return found
