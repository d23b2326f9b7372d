"""DICOM slices that lie in files of their own, put together to stacks: order, gaps, tilt, plane, share of slices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np

from ra_core.config import Plane, PreprocessingConfig
from ra_core.data.readers import in_range
from ra_core.data.readers.refusal import Reason
from ra_core.data.readers.tilt import is_tilted
from ra_core.data.scan.planes import other_plane
from ra_core.data.scan.records import Entry, Series

__all__ = ["gaps_of", "in_stacks", "stacks"]

_ONE_PLACE = 1e-3
"""Millimetres within which two slices lie at one place."""

_GAP = 1.5
"""A step larger than so many usual ones misses a slice."""

_THERE = (None, Reason.CONSTANT_IMAGE, Reason.EMPTY_SLICE, Reason.OUT_OF_RANGE)
"""Reasons of slices that were read: they have their place in the stack, used or not."""


@dataclass(frozen=True)
class _Slice:
    entry: Entry
    position: float
    origin: tuple[float, float, float]
    normal: tuple[float, float, float]


def stacks(entries: Iterable[Entry]) -> tuple[Series, ...]:
    """The stacks of two slices or more, in the order of their first files.

    Each is of one patient, study, series, orientation and size: programs that take identities out may write one series
    UID into the files of several patients.

    Order is that of the positions along the normal (DICOM PS3.3 C.7.6.2.1.1); names and instance numbers don't count.
    Where a series holds several slices at one place (echoes, phases), it is that many stacks.
    """
    found = (_series(stack) for stack in _grouped(entries))
    return tuple(sorted((series for series in found if series), key=lambda series: min(series.paths)))


def gaps_of(positions: Sequence[float]) -> tuple[int, ...]:
    """Places after which a slice is missing: the step is larger than 1.5 usual ones.

    Args:
        positions: millimetres along the stack, ascending.
    """
    steps = [after - before for before, after in pairwise(positions)]
    return tuple(place for place, step in enumerate(steps) if step > _GAP * median(steps))


def in_stacks(entries: Sequence[Entry], preprocessing: PreprocessingConfig) -> tuple[Entry, ...]:
    """The entries in their order; those whose slice the study doesn't ask for are left aside.

    These are slices and volumes in another plane, those beyond the study's share of a stack, and slices of a stack that
    hold one value only.
    """
    asked = [_in_plane(entry, preprocessing.plane) for entry in entries]
    changed: dict[str, Entry] = {}
    for stack in _grouped(asked):
        good = any(piece.entry.accepted for piece in stack)
        wanted = in_range(len(stack), preprocessing.slices)
        for place, entry in enumerate(piece.entry for piece in stack):
            if good and entry.reason == Reason.CONSTANT_IMAGE:
                changed[entry.path] = entry.aside(Reason.EMPTY_SLICE, "one value only, in a stack that is good")
            elif entry.accepted and place not in wanted:
                changed[entry.path] = entry.aside(Reason.OUT_OF_RANGE, "beyond the study's share of slices")
    return tuple(changed.get(entry.path, entry) for entry in asked)


def _in_plane(entry: Entry, plane: Plane) -> Entry:
    if not entry.accepted or entry.facts is None or other_plane(entry.facts, plane) is None:
        return entry
    return entry.aside(Reason.WRONG_PLANE, f"no {plane} slice")


def _grouped(entries: Iterable[Entry]) -> list[list[_Slice]]:
    groups: dict[tuple[object, ...], list[_Slice]] = defaultdict(list)
    for entry in entries:
        facts = entry.facts
        if facts is None or entry.reason not in _THERE:
            continue
        if facts.series and facts.frames == 1 and facts.positions and facts.normal and facts.origins:
            piece = _Slice(entry, facts.positions[0], facts.origins[0], facts.normal)
            normal = tuple(round(part, 2) + 0.0 for part in facts.normal)
            groups[facts.patient, facts.study, facts.series, normal, facts.shape].append(piece)
    return [stack for group in groups.values() for stack in _one_a_place(group)]


def _one_a_place(group: list[_Slice]) -> list[list[_Slice]]:
    """Slices ordered by position; the second one at a place belongs to a second stack, and so on."""
    found: list[list[_Slice]] = []
    depth, last = 0, -np.inf
    for piece in sorted(group, key=lambda piece: (piece.position, piece.entry.path)):
        depth = depth + 1 if abs(piece.position - last) <= _ONE_PLACE else 0
        last = piece.position
        if depth == len(found):
            found.append([])
        found[depth].append(piece)
    return found


def _series(stack: list[_Slice]) -> Series | None:
    used = [piece for piece in stack if piece.entry.accepted]
    if len(stack) < 2 or not used:
        return None
    positions = [piece.position for piece in stack]
    gaps = [(positions[place], positions[place + 1]) for place in gaps_of(positions)]
    return Series(
        paths=tuple(piece.entry.path for piece in used),
        gaps=tuple(
            place
            for place, (one, next_one) in enumerate(pairwise(used))
            if any(one.position <= before and after <= next_one.position for before, after in gaps)
        ),
        tilted=is_tilted([piece.origin for piece in stack], stack[0].normal),
    )
