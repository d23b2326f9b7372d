"""Boxes that can't be used: better told now than by the measuring at the end of a training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ra_core.data.checks.finding import Code, Finding, Level, Mention
from ra_core.data.dataset import boxes_on_square
from ra_core.data.manifest import Row
from ra_core.data.scan.records import Scan
from ra_core.errors import DataError

__all__ = ["check_boxes"]


def check_boxes(scan: Scan, rows: Sequence[Row], size: int) -> Iterator[Finding]:
    """Lay the boxes of all images that are used on images of side `size`, as the measuring does."""
    facts = {entry.path: entry.facts for entry in scan.accepted}
    boxed, faults = 0, []
    for row in rows:
        known = facts.get(row.path)
        if not row.boxes or known is None:
            continue
        boxed += 1
        path = scan.root / row.path
        try:
            boxes_on_square(row, known, path, size)
        except DataError as error:
            faults.append(Mention(row.path, remark=error.message.removeprefix(f"{path}: ")))
    if faults:
        yield Finding(
            Level.ERROR,
            Code.BOX_UNFIT,
            f"the boxes of {len(faults)} of {boxed} images with boxes can't be used",
            "give them in pixels of the file's own picture, from its upper left corner; for volumes give masks",
            tuple(faults),
        )
