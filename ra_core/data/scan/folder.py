"""Folder rules: what a file is for is told by its path and its patient, in place of a manifest."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ra_core.config import FolderRules, SiteConfig, SplitShares
from ra_core.data.manifest import SPLITS, Label, Row, Split
from ra_core.data.scan.duplicates import Claim
from ra_core.data.scan.patients import Key, keys_of, same_patients
from ra_core.data.scan.patterns import matches
from ra_core.data.scan.records import Entry, Scan
from ra_core.errors import ManifestError

__all__ = ["claims_of", "drawn_split", "is_ignored", "is_listed", "rows_of"]


def is_ignored(path: str, rules: FolderRules) -> bool:
    """Whether a rule leaves the file aside, whatever other rules say of it."""
    return matches(path, rules.ignored)


def is_listed(path: str, rules: FolderRules) -> bool:
    """Whether a rule says what the file is for."""
    label = _label(path, rules)
    return label == "anomalous" or (label == "healthy" and (not rules.train or bool(_named_splits(path, rules))))


def claims_of(entries: Iterable[Entry], rules: FolderRules) -> dict[str, Claim]:
    """What the rules say of each file whose pictures were read, used or a copy, by path.

    Raises:
        ManifestError: the rules put a file into two splits.
    """
    labelled = [(entry, label) for entry in entries if _was_read(entry) and (label := _label(entry.path, rules))]
    placed = {entry.path: _placed(entry.path, label, rules) for entry, label in labelled}
    patients = _patients(entry for entry, _ in labelled)
    of_patient = _splits_of_patients(
        (patients[entry.path], placed[entry.path]) for entry, _ in labelled if entry.accepted and entry.path in patients
    )
    claims = {}
    for entry, label in labelled:
        split, patient = placed[entry.path], patients.get(entry.path)
        if split is None and patient:
            split = of_patient.get(patient) or drawn_split(patient[1], rules.shares)
        claims[entry.path] = Claim(label, split)
    return claims


def rows_of(scan: Scan, site: SiteConfig, rules: FolderRules) -> tuple[Row, ...]:
    """One row a file whose pictures were read, used or a copy, in the order of the paths.

    Those of files that are used obey the rules of a manifest; a copy whose patient nothing tells has none.

    Raises:
        ManifestError: the patient of a file that is used is not told, or the rules put a file or a patient into two
            splits. It names neither.
    """
    claims = claims_of(scan.entries, rules)
    used = [entry for entry in scan.accepted if entry.path in claims]
    _refuse_unknown_patients(used)
    _refuse_torn(used, claims)
    placed = ((entry, *claims[entry.path]) for entry in scan.entries if entry.path in claims)
    return tuple(
        Row(
            path=entry.path,
            site=site.data.site,
            anatomy=site.anatomy,
            modality=site.modality,
            split=split,
            label=label,
            pathology="",
            patient_id=entry.patient,
            region_mask="",
            source="",
            lesion_mask="",
            line=number,
        )
        for number, (entry, label, split) in enumerate(placed, start=1)
        if split
    )


def drawn_split(patient: str, shares: SplitShares) -> Split:
    """Where a patient goes by chance, the same at every start and whoever else is there.

    The key is the header's PatientID where there is one, else what the site's rule finds; see `same_patients`.

    The first 8 bytes of SHA-256 over "federated-ra split", a zero byte and the patient's key, as a big-endian number
    divided by 2^64, are a uniform number in [0, 1); the shares of train, val, calibration and test divide that range in
    this order.
    """
    digest = hashlib.sha256(b"federated-ra split\0" + patient.encode(errors="surrogateescape")).digest()
    drawn, end = int.from_bytes(digest[:8], "big") / 2**64, 0.0
    wanted = [split for split in SPLITS if getattr(shares, split) > 0]
    for split in wanted:
        end += getattr(shares, split)
        if drawn < end:
            return split
    return wanted[-1]  # the shares add up to 1 but for rounding


def _label(path: str, rules: FolderRules) -> Label | None:
    if is_ignored(path, rules):
        return None
    if matches(path, rules.anomalous):
        return "anomalous"
    return "healthy" if matches(path, rules.healthy) else None


def _named_splits(path: str, rules: FolderRules) -> list[Split]:
    return [split for split in SPLITS if matches(path, getattr(rules, split))]


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


def _was_read(entry: Entry) -> bool:
    return entry.accepted or bool(entry.copies)


def _patients(entries: Iterable[Entry]) -> dict[str, Key]:
    return same_patients({entry.path: keys_of(entry.patient, entry.facts) for entry in entries})


def _splits_of_patients(files: Iterable[tuple[Key, Split | None]]) -> dict[Key, Split]:
    """Where patterns and labels put each patient; of one who is in two, which is refused later, the first."""
    found: dict[Key, Split] = {}
    for patient, split in files:
        if split:
            found.setdefault(patient, split)
    return found


def _refuse_torn(used: Sequence[Entry], claims: Mapping[str, Claim]) -> None:
    patients = _patients(used)
    splits: dict[Key, list[Split | None]] = defaultdict(list)
    for entry in used:
        splits[patients[entry.path]].append(claims[entry.path].split)
    torn = [len(found) for found in splits.values() if len(set(found)) > 1]
    if torn:
        raise ManifestError(
            f"the folder rules put patients into two splits: {len(torn)} of them, with {sum(torn)} files",
            "give no patterns of splits, so that patients are drawn, or mend data.folder.patient; files whose headers "
            "have one PatientID are of one patient",
        )


def _refuse_unknown_patients(entries: Iterable[Entry]) -> None:
    unknown = sum(not entry.patient for entry in entries)
    if unknown:
        raise ManifestError(
            f"nothing tells the patient of {unknown} file{'s' if unknown > 1 else ''}",
            "give data.folder.patient a rule on the path: folder:N, a regular expression, or file",
        )
