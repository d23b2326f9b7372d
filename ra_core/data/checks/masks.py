"""Masks that can't be used: better told now than by the measuring at the end of a training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from ra_core.data.checks.finding import Code, Finding, Level, Mention
from ra_core.data.manifest import Row
from ra_core.data.readers import Reading, open_mask
from ra_core.data.readers.refusal import Reason
from ra_core.data.scan.records import Entry, Scan
from ra_core.errors import DataError

__all__ = ["check_masks"]

_TOLD = {
    Code.MASK_UNREADABLE: ("can't be read", "export them again, or empty their cells in the manifest"),
    Code.MASK_OTHER_GRID: ("don't lie on the grid of their images", "draw them on the images' own grid"),
    Code.MASK_NOT_BINARY: ("hold more than two values", "save them lossless, with 0 outside and 255 inside"),
}

_CODES = {str(Reason.MASK_OTHER_GRID): Code.MASK_OTHER_GRID, str(Reason.MASK_NOT_BINARY): Code.MASK_NOT_BINARY}


def check_masks(scan: Scan, rows: Sequence[Row], reading: Reading) -> Iterator[Finding]:
    """Open every mask of the images that are used, as the measuring does: a finding a kind of fault."""
    entries = {entry.path: entry for entry in scan.accepted}
    masks = [
        (entries[row.path], mask)
        for row in rows
        if row.path in entries
        for mask in (row.lesion_mask, row.region_mask)
        if mask
    ]
    faults: dict[Code, list[Mention]] = defaultdict(list)
    for entry, mask in masks:
        error = _error(scan.root / mask, entry, reading)
        if error:
            why = error.message.removeprefix(f"{scan.root / mask}: ")
            faults[_CODES.get(error.code, Code.MASK_UNREADABLE)].append(Mention(mask, remark=why))
    for code, (what, how_to_fix) in _TOLD.items():
        if faults[code]:
            message = f"{len(faults[code])} of {len(masks)} masks {what}"
            yield Finding(Level.ERROR, code, message, how_to_fix, tuple(faults[code]))


def _error(path: Path, entry: Entry, reading: Reading) -> DataError | None:
    if entry.facts is None:
        return None  # made up: whatever was read has facts
    try:
        mask = open_mask(path, entry.facts, reading)
        for picture in entry.pictures:
            mask.picture(picture.frame)
    except DataError as error:
        return error
    return None
