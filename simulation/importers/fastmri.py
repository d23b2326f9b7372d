"""fastMRI+: radiologists' boxes on T1 slices of the fastMRI brain set, as the annotators' script makes them DICOM.

One slice a subject is taken, as the authors of RA do. Their README calls it mid-axial. Of the subjects AXT1_201 whose
boxes in `brain.csv` were compared with the authors' lists of boxes, slice 2 of the file, counted from 0, is the only
one that fits: fastMRI leaves out the lowest slices, so it lies at the height of the ventricles.

Labels were drawn on the script's pictures, which are flipped up and down against the file: they need no turning here.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from simulation.importers.listing import (
    Listed,
    Listing,
    by_stem,
    corner_box,
    csv_rows,
    files,
    find_one,
    finding,
    text_of,
)

__all__ = ["SLICE", "read_fastmri"]

SLICE = 2

_COLUMNS = ("file", "slice", "study_level", "x", "y", "width", "height", "label")
_DICOM = re.compile(r"(?P<subject>file_brain_AXT1_.+)_(?P<slice>\d{3})")
_WHERE = "it is in the folder Annotations of microsoft/fastmri-plus"
_NORMAL = "normal for age"

_Rows = Sequence[Mapping[str, str]]


def read_fastmri(source: Path) -> Listing:
    """One slice of every subject with AXT1 slices that was reviewed.

    Healthy is a subject without any finding, or called normal for age and nothing else. Artefacts are no findings:
    subjects with nothing but artefacts are left aside, and so are those whose findings are on other slices.

    Raises:
        DataError: `brain.csv` or `brain_file_list.csv` is not there, or is not as it should be.
    """
    labels = find_one(source, "brain.csv", _WHERE)
    reviewed = set(text_of(find_one(source, "brain_file_list.csv", _WHERE)).split())
    rows: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for row in csv_rows(labels, _COLUMNS):
        rows[row["file"]].append(row)
    listing = Listing()
    slices: dict[str, dict[int, str]] = defaultdict(dict)
    for stem, path in by_stem(source, files(source, ".dcm")).items():
        if found := _DICOM.fullmatch(stem):
            slices[found["subject"]][int(found["slice"])] = path
    for subject, paths in sorted(slices.items()):
        if subject not in reviewed:
            listing.left["subjects that were not reviewed"] += 1
        elif SLICE not in paths:
            listing.left[f"subjects without slice {SLICE}"] += 1
        else:
            _add(listing, subject, paths[SLICE], rows[subject], labels)
    missing = sum(subject.startswith("file_brain_AXT1_") and subject not in slices for subject in reviewed)
    if missing:
        listing.left["subjects reviewed whose slices are not here"] += missing
    return listing


def _add(listing: Listing, subject: str, path: str, rows: _Rows, labels: Path) -> None:
    whole = [row["label"] for row in rows if row["study_level"].lower() == "yes"]
    drawn = [row for row in rows if row["study_level"].lower() != "yes"]
    found = [label for label in whole if label.lower() != _NORMAL and not _is_artefact(label)]
    here = [row for row in drawn if row["slice"] == str(SLICE) and not _is_artefact(row["label"])]
    if all(label.lower() == _NORMAL for label in whole) and not drawn:
        listing.images.append(Listed(path, subject, "healthy"))
    elif found or here:
        names = finding(name.removeprefix("Global label: ") for name in (*found, *(row["label"] for row in here)))
        boxes = tuple(corner_box(row, labels) for row in here)
        listing.images.append(Listed(path, subject, "anomalous", names, boxes))
    elif any(not _is_artefact(row["label"]) for row in drawn):
        listing.left["subjects with findings on other slices alone"] += 1
    else:
        listing.left["subjects with artefacts alone"] += 1


def _is_artefact(label: str) -> bool:
    return "artifact" in label.lower()
