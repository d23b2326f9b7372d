"""Which patient a file shows: the key that splits and intervals go by. It stays at the site."""

from __future__ import annotations

import re

from ra_core.data.readers.source import Facts

__all__ = ["patient_of"]


def patient_of(path: str, facts: Facts, rule: str) -> str:
    """A text that is the same for all files of one patient; empty where nothing tells.

    What the path tells goes before the header; where the rule finds nothing in the path, the header is asked: its
    patient, and without one its study.

    Args:
        path: relative to the data root.
        facts: of the file's header.
        rule: as `FolderRules.patient` has it.
    """
    told = "" if rule == "dicom" else _by_path(path, rule)
    return told or facts.patient or facts.study


def _by_path(path: str, rule: str) -> str:
    if rule == "file":
        return path
    if rule.startswith("folder:"):
        folders, number = path.split("/")[:-1], int(rule.removeprefix("folder:"))
        return folders[number - 1] if number <= len(folders) else ""
    found = re.search(rule, path)
    return (found["patient"] or "").strip() if found else ""
