"""RSNA Pneumonia Detection Challenge: chest films of ChestX-ray14 as DICOM, with boxes around opacities."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from ra_core.data import Box, Label
from ra_core.errors import DataError
from simulation.importers.listing import (
    Listed,
    Listing,
    by_stem,
    corner_box,
    csv_rows,
    files,
    find_one,
    found_as,
    text_of,
)

__all__ = ["read_rsna"]

_LABELS, _CLASSES = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
_MAPPINGS = "pneumonia-challenge-dataset-mappings_2018.json"
_WHERE = "it is one of the challenge's files at Kaggle"

_FINDINGS = {"Normal": "", "Lung Opacity": "lung opacity", "No Lung Opacity / Not Normal": "not normal without opacity"}


def read_rsna(source: Path) -> Listing:
    """All films of the training part; that of the test part has no labels.

    What the challenge calls patientId is one film. RSNA's own table of the films' names in ChestX-ray14, of which the
    first eight digits are the patient, tells who is who; without it each film counts as a patient.

    Raises:
        DataError: a table is not there, or not as it should be.
    """
    labels = find_one(source, _LABELS, _WHERE)
    boxes: dict[str, list[Box]] = defaultdict(list)
    for row in csv_rows(labels, ("patientId", "x", "y", "width", "height", "Target")):
        if row["Target"] == "1":
            boxes[row["patientId"]].append(corner_box(row, labels))
    classes = find_one(source, _CLASSES, _WHERE)
    kinds = {row["patientId"]: row["class"] for row in csv_rows(classes, ("patientId", "class"))}
    if unknown := sorted(set(kinds.values()) - set(_FINDINGS)):
        raise DataError(f"{classes}: {len(unknown)} classes that the challenge doesn't have", "download it again")
    listing, patients = Listing(), _patients(source)
    if not patients:
        listing.notes.append(f"no {_MAPPINGS}: each film counts as a patient, and one person may be in two splits")
    here = by_stem(source, files(source, ".dcm"))
    for film, path in here.items():
        if film not in kinds:
            listing.left["films without labels, as in the test part"] += 1
        elif patients and film not in patients:
            listing.left[f"films whose patient {_MAPPINGS} doesn't tell"] += 1
        else:
            name = _FINDINGS[kinds[film]]
            label: Label = "anomalous" if name else "healthy"
            listing.images.append(Listed(path, patients.get(film, film), label, name, tuple(boxes[film])))
    if missing := len(kinds.keys() - here.keys()):
        listing.left["films with labels that are not here"] += missing
    return listing


def _patients(source: Path) -> dict[str, str]:
    """The patient of each film; empty where RSNA's table is not there."""
    if not found_as(source, _MAPPINGS):
        return {}
    path = find_one(source, _MAPPINGS, "RSNA's page of the challenge links to it")
    try:
        table = json.loads(text_of(path))
        return {str(entry["subset_img_id"]): str(entry["img_id"]).split("_")[0] for entry in table}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: can't be read ({type(error).__name__})", "download it again") from None
