"""Which of the files that are not used are a loss: nobody trains on a small rest of the data unnoticed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum

from ra_core.data.readers.refusal import Reason
from ra_core.data.scan.records import Entry

__all__ = ["Meant", "with_losses"]


class Meant(Enum):
    """What tells which files ought to be images of the site."""

    BY_MANIFEST = "its manifest"
    BY_RULES = "its folder rules"
    BY_NOTHING = "nothing: the reason alone tells whether a file is missed"


_USED_ELSEWHERE = {Reason.DUPLICATE, Reason.OUT_OF_RANGE, Reason.EMPTY_SLICE}
"""The same picture is used, or others of its stack, as the study asks."""

_OF_EXPORTS = {Reason.SYSTEM_FILE, Reason.NOT_AN_IMAGE, Reason.LOCALIZER, Reason.IGNORED, Reason.NOT_LISTED}
"""What lies in any export, so that patterns of folders happen to name it."""


def with_losses(entries: Sequence[Entry], meant: Meant) -> tuple[Entry, ...]:
    """The entries in their order, those that are lost marked so, beside those that are already.

    A row of a manifest is lost whatever the reason, but for copies and for slices that the study doesn't ask for. Under
    folder rules, what lies in any export is no loss, and neither is another plane of a study of which one is used.
    """
    in_plane = {_study(entry) for entry in entries if entry.accepted}
    return tuple(replace(entry, lost=entry.lost or _is_lost(entry, meant, in_plane)) for entry in entries)


def _is_lost(entry: Entry, meant: Meant, in_plane: set[str]) -> bool:
    if entry.reason is None or entry.reason in _USED_ELSEWHERE:
        return False
    if meant is Meant.BY_MANIFEST:
        return True
    if meant is Meant.BY_NOTHING:
        return not entry.reason.expected
    if entry.reason is Reason.WRONG_PLANE:
        return _study(entry) not in in_plane
    return entry.reason not in _OF_EXPORTS


def _study(entry: Entry) -> str:
    return (entry.facts.study if entry.facts else "") or entry.patient
