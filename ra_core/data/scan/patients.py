"""Which patient a file shows: the key that splits and intervals go by. It stays at the site."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ra_core.data.readers.source import Facts
from ra_core.data.scan.groups import Groups

__all__ = ["Key", "header_patient", "keys_of", "patient_of", "same_patients"]

Key = tuple[str, str]
"""Who names a patient, the header or the site with its rule or manifest, and how."""

_NOBODY = re.compile(r"(?i:anon(ym(ous|i[sz]ed)?)?|de-?identified|unknown|none|null|n/?a|[0x?. -]+)")
"""What programs write where they take a PatientID out."""


def patient_of(path: str, facts: Facts, rule: str) -> str:
    """A text that is the same for all files of one patient; empty where nothing tells.

    What the path tells goes before the header; where the rule finds nothing in the path, the header is asked: its
    patient, and without one its study. Files of one patient by their headers are so whatever the rule says: see
    `same_patients`.

    Args:
        path: relative to the data root.
        facts: of the file's header.
        rule: as `FolderRules.patient` has it.
    """
    told = "" if rule == "dicom" else _by_path(path, rule)
    return told or header_patient(facts) or facts.study


def header_patient(facts: Facts) -> str:
    """The header's PatientID; empty where there is none, or one that stands for everybody, such as ANONYMOUS."""
    return "" if _NOBODY.fullmatch(facts.patient) else facts.patient


def keys_of(told: str, facts: Facts | None) -> tuple[Key, ...]:
    """All keys of a file's patient: the header's is its patient, and without one its study.

    Args:
        told: by the site's rule or manifest; empty where nothing tells.
        facts: of the file's header.
    """
    by_header = (header_patient(facts) or facts.study) if facts else ""
    return tuple(key for key in (("header", by_header), ("site", told)) if key[1])


def same_patients(files: Mapping[str, Iterable[Key]]) -> dict[str, Key]:
    """The patient of each file that has a key: files that share one are of one patient, directly or by way of others.

    A patient is named by the least of the keys, which is a header's where there is any: it doesn't depend on how files
    are called.
    """
    groups: Groups[Key] = Groups()
    keyed = {path: keys for path, of_file in files.items() if (keys := tuple(of_file))}
    for keys in keyed.values():
        for key in keys[1:]:
            groups.join(keys[0], key)
    least: dict[Key, Key] = {}
    for key in sorted(key for keys in keyed.values() for key in keys):
        least.setdefault(groups.root(key), key)
    return {path: least[groups.root(keys[0])] for path, keys in keyed.items()}


def _by_path(path: str, rule: str) -> str:
    if rule == "file":
        return path
    if rule.startswith("folder:"):
        folders, number = path.split("/")[:-1], int(rule.removeprefix("folder:"))
        return folders[number - 1] if number <= len(folders) else ""
    found = re.search(rule, path)
    return (found["patient"] or "").strip() if found else ""
