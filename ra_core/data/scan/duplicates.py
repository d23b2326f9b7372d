"""Copies: of one picture, only the first file by path is used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ra_core.data.readers.refusal import Reason
from ra_core.data.scan.records import Entry, Picture

__all__ = ["without_duplicates"]

_ALIKE = 2.0
"""Mean difference of thumbnails, of 255 greys, up to which two pictures may be one, packed with other losses."""

_Place = tuple[float, ...] | None


def without_duplicates(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries in their order, copies among them left aside.

    A file is a copy where all its pictures were in files before it, or where it has the SOPInstanceUID of a file before
    it and looks like it: a program that wrote one UID into all its files made no copies.

    Equal pixels are one picture whatever the format, the name and the patient. Slices whose place in the body is known
    can be equal and yet two, as the left and the right of a phantom: these are one picture at one place only, and
    within one series or under two patients. Two series of a patient may cross.
    """
    seen = _Seen()
    kept = []
    for entry in entries:
        if entry.accepted and seen.copy_of(entry):
            why = "its pictures are in a file before it"
            kept.append(replace(entry, reason=Reason.DUPLICATE, message=why, pictures=(), skipped=()))
        else:
            seen.add(entry)
            kept.append(entry)
    return tuple(kept)


class _Seen:
    """Pictures by their pixels, and where and of whom they were; files by their SOPInstanceUID."""

    def __init__(self) -> None:
        self._pictures: dict[str, dict[_Place, set[tuple[str, str]]]] = defaultdict(lambda: defaultdict(set))
        self._instances: dict[str, Entry] = {}

    def add(self, entry: Entry) -> None:
        for picture in entry.pictures:
            self._pictures[picture.digest][_place(entry, picture)].add(_owner(entry))
        if entry.pictures and entry.facts and entry.facts.instance:
            self._instances.setdefault(entry.facts.instance, entry)

    def copy_of(self, entry: Entry) -> bool:
        if all(self._has(entry, picture) for picture in entry.pictures):
            return True
        first = self._instances.get(entry.facts.instance) if entry.facts else None
        return first is not None and _alike(first, entry)

    def _has(self, entry: Entry, picture: Picture) -> bool:
        if picture.digest not in self._pictures:
            return False
        places, place = self._pictures[picture.digest], _place(entry, picture)
        if place is None or None in places:
            return True
        patient, series = _owner(entry)
        return any(series == of_series or patient != of_patient for of_patient, of_series in places.get(place, ()))


def _place(entry: Entry, picture: Picture) -> _Place:
    if entry.facts is None or entry.facts.origins is None:
        return None
    return tuple(round(coordinate, 3) for coordinate in entry.facts.origins[picture.frame])


def _owner(entry: Entry) -> tuple[str, str]:
    return entry.patient, entry.facts.series if entry.facts else ""


def _alike(a: Entry, b: Entry) -> bool:
    if [p.frame for p in a.pictures] != [p.frame for p in b.pictures]:
        return False
    pairs = zip(a.pictures, b.pictures, strict=True)
    return all(float(np.abs(p.thumbnail.astype(np.float64) - q.thumbnail).mean()) <= _ALIKE for p, q in pairs)
