"""Copies: one picture is used once, and one that is healthy and anomalous at once is not used at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ra_core.data.manifest import SPLITS, Label, Split
from ra_core.data.readers.refusal import Reason
from ra_core.data.scan.groups import Groups
from ra_core.data.scan.records import Entry, Picture

__all__ = ["Claim", "without_duplicates"]

_ALIKE = 2.0
"""Mean difference of thumbnails, of 255 greys, up to which two pictures may be one, packed with other losses."""

_Place = tuple[float, ...] | None


class Claim(NamedTuple):
    """What a site says that a file is; the split is None where nothing tells the patient."""

    label: Label
    split: Split | None


def without_duplicates(entries: Sequence[Entry], claims: Mapping[str, Claim] | None = None) -> tuple[Entry, ...]:
    """The entries in their order, copies among them left aside.

    A file is a copy where all its pictures are in files that go before it, or where it has the SOPInstanceUID of a file
    before it, lies where it lies and looks like it: a program that wrote one UID into all its files made no copies.
    Files for train go before those for val, calibration and test, and those of no split come last; within a split the
    order is that of the entries.

    Equal pixels are one picture whatever the format, the name and the patient. Slices whose place in the body is known
    can be equal and yet two, as the left and the right of a phantom: these are one picture at one place only, and
    within one series or under two patients. Two series of a patient may cross.

    Files of both labels that share a picture are left aside together with their copies, and lost: nobody can tell which
    is right.

    Args:
        entries: sorted by path.
        claims: what the site says of them, by path; a file of which nothing is said has no label, and goes first.
    """
    said = claims or {}
    splits = [*SPLITS, None]
    ordered = sorted(
        (entry for entry in entries if entry.accepted),
        key=lambda entry: splits.index(said[entry.path].split) if entry.path in said else 0,
    )
    copies, disputes = _compared(ordered, said)
    return tuple(_judged(entry, copies, disputes) for entry in entries)


def _compared(ordered: Sequence[Entry], said: Mapping[str, Claim]) -> tuple[dict[str, str], dict[str, str]]:
    """Of each copy the file that is used; and of each file whose label is in dispute the first of them."""

    def label(path: str) -> Label | None:
        return said[path].label if path in said else None

    seen, groups = _Seen(), Groups[str]()
    copies: dict[str, str] = {}
    disputed: set[str] = set()
    for entry in ordered:
        holding = [seen.holding(entry, picture) for picture in entry.pictures]
        original = holding[0][0] if holding and all(holding) else seen.same_instance(entry)
        others = {path for holders in holding for path in holders}
        if original:
            copies[entry.path] = original
            others.add(original)
        else:
            seen.add(entry)
        for other in sorted(others):
            if label(other) != label(entry.path):
                disputed.add(entry.path)
            elif other != original:
                continue  # both are used
            groups.join(entry.path, other)
    roots = {groups.root(path) for path in disputed}
    members = sorted(entry.path for entry in ordered if groups.root(entry.path) in roots)
    first: dict[str, str] = {}
    for path in members:
        first.setdefault(groups.root(path), path)
    return copies, {path: first[groups.root(path)] for path in members}


def _judged(entry: Entry, copies: Mapping[str, str], disputes: Mapping[str, str]) -> Entry:
    if entry.path in disputes:
        why, original = "its pixels are healthy and anomalous at once; find out which is right", disputes[entry.path]
    elif entry.path in copies:
        why, original = "its pictures are in a file before it", copies[entry.path]
    else:
        return entry
    return entry.aside(Reason.DUPLICATE, why, original, lost=entry.path in disputes)


class _Seen:
    """Pictures by their pixels, and in which files; files by their SOPInstanceUID."""

    def __init__(self) -> None:
        self._pictures: dict[str, list[tuple[_Place, Entry]]] = defaultdict(list)
        self._instances: dict[str, Entry] = {}

    def add(self, entry: Entry) -> None:
        for picture in entry.pictures:
            self._pictures[picture.digest].append((_place(entry, picture), entry))
        if entry.pictures and entry.facts and entry.facts.instance:
            self._instances.setdefault(entry.facts.instance, entry)

    def same_instance(self, entry: Entry) -> str:
        """The file with its SOPInstanceUID, if both look alike; empty where there is none."""
        first = self._instances.get(entry.facts.instance) if entry.facts else None
        return first.path if first is not None and _alike(first, entry) else ""

    def holding(self, entry: Entry, picture: Picture) -> list[str]:
        """Files that have a picture of this one, in their order."""
        place = _place(entry, picture)
        found = self._pictures.get(picture.digest, ())
        return [other.path for there, other in found if _is_one(entry, place, other, there)]


def _is_one(entry: Entry, place: _Place, other: Entry, there: _Place) -> bool:
    """Whether equal pixels are one picture."""
    if place is None or there is None:
        return True
    return place == there and (_series(entry) == _series(other) or entry.patient != other.patient)


def _place(entry: Entry, picture: Picture) -> _Place:
    if entry.facts is None or entry.facts.origins is None:
        return None
    return tuple(round(coordinate, 3) for coordinate in entry.facts.origins[picture.frame])


def _series(entry: Entry) -> str:
    return entry.facts.series if entry.facts else ""


def _alike(a: Entry, b: Entry) -> bool:
    if [(p.frame, _place(a, p)) for p in a.pictures] != [(p.frame, _place(b, p)) for p in b.pictures]:
        return False
    pairs = zip(a.pictures, b.pictures, strict=True)
    return all(float(np.abs(p.thumbnail.astype(np.float64) - q.thumbnail).mean()) <= _ALIKE for p, q in pairs)
