"""Folder rules: what a file is for is told by its path and its patient, in place of a manifest."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from typing import get_args

from ra_core.config import FolderRules, SiteConfig, SplitShares
from ra_core.data.manifest import Label, Row, Split
from ra_core.data.scan.patterns import matches
from ra_core.data.scan.records import Entry, Scan
from ra_core.errors import ManifestError

__all__ = ["drawn_split", "is_listed", "rows_of"]

_SPLITS: tuple[Split, ...] = get_args(Split)


def is_listed(path: str, rules: FolderRules) -> bool:
    """Whether a rule says what the file is for."""
    label = _label(path, rules)
    return label == "anomalous" or (label == "healthy" and (not rules.train or bool(_named_splits(path, rules))))


def rows_of(scan: Scan, site: SiteConfig) -> tuple[Row, ...]:
    """One row a file that is used, in the order of the paths; they obey the rules of a manifest.

    Raises:
        ManifestError: a file's patient is not told, the rules put a file or a patient into two splits, or the site has
            no rules. It names neither.
    """
    rules = site.data.folder
    if rules is None:
        raise ManifestError("the site config has no folder rules", "add data.folder, or use a manifest")
    labelled = [(entry, label) for entry in scan.accepted if (label := _label(entry.path, rules))]
    _refuse_unknown_patients(entry for entry, _ in labelled)
    placed = {entry.path: _placed(entry.path, label, rules) for entry, label in labelled}
    of_patient = _splits_of_patients((entry.patient, placed[entry.path]) for entry, _ in labelled)
    return tuple(
        Row(
            path=entry.path,
            site=site.data.site,
            anatomy=site.anatomy,
            modality=site.modality,
            split=of_patient.get(entry.patient) or drawn_split(entry.patient, rules.shares),
            label=label,
            pathology="",
            patient_id=entry.patient,
            region_mask="",
            source="",
            lesion_mask="",
            line=number,
        )
        for number, (entry, label) in enumerate(labelled, start=1)
    )


def drawn_split(patient: str, shares: SplitShares) -> Split:
    """Where a patient goes by chance, the same at every start and whoever else is there.

    The first 8 bytes of SHA-256 over "federated-ra split", a zero byte and the patient's key, as a big-endian number
    divided by 2^64, are a uniform number in [0, 1); the shares of train, val, calibration and test divide that range in
    this order.
    """
    digest = hashlib.sha256(b"federated-ra split\0" + patient.encode(errors="surrogateescape")).digest()
    drawn, end = int.from_bytes(digest[:8], "big") / 2**64, 0.0
    wanted = [split for split in _SPLITS if getattr(shares, split) > 0]
    for split in wanted:
        end += getattr(shares, split)
        if drawn < end:
            return split
    return wanted[-1]  # the shares add up to 1 but for rounding


def _label(path: str, rules: FolderRules) -> Label | None:
    if matches(path, rules.ignored):
        return None
    if matches(path, rules.anomalous):
        return "anomalous"
    return "healthy" if matches(path, rules.healthy) else None


def _named_splits(path: str, rules: FolderRules) -> list[Split]:
    return [split for split in _SPLITS if matches(path, getattr(rules, split))]


def _placed(path: str, label: Label, rules: FolderRules) -> Split | None:
    """The split that is certain; None where the patient is drawn."""
    if label == "anomalous":
        return "test"
    named = _named_splits(path, rules)
    if len(named) > 1:
        raise ManifestError(
            f"the folder rules put a file into {' and '.join(named)}", "give patterns that don't overlap in data.folder"
        )
    return named[0] if named else None


def _splits_of_patients(files: Iterable[tuple[str, Split | None]]) -> dict[str, Split]:
    found: dict[str, list[Split]] = defaultdict(list)
    for patient, split in files:
        if split:
            found[patient].append(split)
    torn = [len(splits) for splits in found.values() if len(set(splits)) > 1]
    if torn:
        raise ManifestError(
            f"the folder rules put patients into two splits: {len(torn)} of them, with {sum(torn)} files",
            "give no patterns of splits, so that patients are drawn, or mend data.folder.patient",
        )
    return {patient: splits[0] for patient, splits in found.items()}


def _refuse_unknown_patients(entries: Iterable[Entry]) -> None:
    unknown = sum(not entry.patient for entry in entries)
    if unknown:
        raise ManifestError(
            f"nothing tells the patient of {unknown} file{'s' if unknown > 1 else ''}",
            "give data.folder.patient a rule on the path: folder:N, a regular expression, or file",
        )
