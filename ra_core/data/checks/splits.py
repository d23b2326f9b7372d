"""What is on two sides of a split: patients, copies and near copies. Each makes figures look better than they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ra_core.data.checks.finding import Code, Finding, Level, Mention
from ra_core.data.checks.pictures import Pictures, unit
from ra_core.data.manifest import Row
from ra_core.data.scan.records import Scan

__all__ = ["ALIKE", "check_copies", "check_near_copies", "check_patients", "nearest"]

ALIKE = 0.995
"""Correlation of two thumbnails above which they are near copies.

On br35h it finds slices that were exported again with another contrast or sharpness; between different patients of ten
public sites the largest is 0.977, and between 2,240 virtual ones on a common atlas 0.992.
"""

ORDER = ("train", "val", "calibration", "test")
"""A copy is told of the later of two splits."""

BLOCK = 1024
"""Thumbnails compared at a time: memory does not grow with the number of pictures."""


def check_patients(scan: Scan, rows: Sequence[Row]) -> Iterator[Finding]:
    """Patients in more than one split, by what the rows say and by what the files say."""
    keys = {entry.path: entry.patient for entry in scan.accepted}
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        for source, key in (("row", row.patient_id), ("file", keys.get(row.path, ""))):
            if key:
                groups[source, key].append(row)
    torn = [group for group in groups.values() if len({row.split for row in group}) > 1]
    placed: dict[str, Mention] = {}
    patients = 0
    for group in torn:
        if all(row.path in placed for row in group):
            continue  # the same files under the other key
        patients += 1
        for row in group:
            placed.setdefault(row.path, Mention(row.path, remark=f"patient {patients}: {row.split}"))
    if patients:
        yield Finding(
            Level.ERROR,
            Code.PATIENT_IN_TWO_SPLITS,
            f"{patients} patient{_s(patients)} with images in more than one split",
            "put all images of a patient into one split",
            tuple(placed.values()),
        )


def check_copies(pictures: Pictures) -> Iterator[Finding]:
    """Pictures with the very same pixels."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(pictures.digests):
        groups[digest].append(index)
    copied = [group for group in groups.values() if len(group) > 1]
    across = [group for group in copied if len(set(pictures.splits[group])) > 1]
    labels = [group for group in copied if len(set(pictures.labels[group])) > 1]
    within = [group for group in copied if group not in across and group not in labels]
    if across:
        yield _copies(
            pictures, across, Level.ERROR, Code.COPIES_ACROSS_SPLITS, "in more than one split", "keep one, in one split"
        )
    if labels:
        fix = "find out which label is right, and keep that one"
        yield _copies(pictures, labels, Level.ERROR, Code.COPIES_ACROSS_LABELS, "healthy and anomalous at once", fix)
    if within:
        yield _copies(pictures, within, Level.WARNING, Code.COPIES, "more than once in one split", "keep one")


def check_near_copies(pictures: Pictures) -> Iterator[Finding]:
    """Pictures that look like one in an earlier split, copies included."""
    found: list[Mention] = []
    told: list[str] = []
    for place, split in reversed(list(enumerate(ORDER))):
        late = np.flatnonzero(pictures.splits == split)
        early = np.flatnonzero(np.isin(pictures.splits, ORDER[:place]))
        if not len(late) or not len(early):
            continue
        before = _either([part for part in ORDER[:place] if part in pictures.splits])
        partner, likeness = nearest(pictures.thumbnails[late], pictures.thumbnails[early])
        alike = likeness > ALIKE
        for label in ("healthy", "anomalous"):
            of_label = pictures.labels[late] == label
            if (alike & of_label).any():
                told.append(
                    f"{(alike & of_label).sum()} of {of_label.sum()} {label} {split} images like one in {before}"
                )
        for index, other, value in zip(late[alike], early[partner[alike]], likeness[alike], strict=True):
            remark = f"{split}, like one in {pictures.splits[other]} (correlation {value:.4f})"
            found.append(pictures.mention(int(index), remark, int(other)))
    if found:
        yield Finding(
            Level.WARNING,
            Code.NEAR_COPIES_ACROSS_SPLITS,
            f"near copies: {', '.join(told)}",
            "put images that look alike into one split, or take them out; until then no figure holds for new patients",
            tuple(found),
        )


def nearest(late: NDArray[np.uint8], early: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The most similar of M >= 1 other thumbnails (M, P) for each of N (N, P): its index and the correlation, (N,)."""
    best = np.full(len(late), -np.inf, np.float32)
    partner = np.zeros(len(late), np.intp)
    for row in range(0, len(late), BLOCK):
        rows = slice(row, row + BLOCK)
        left = unit(late[rows])
        for column in range(0, len(early), BLOCK):
            likeness = left @ unit(early[column : column + BLOCK]).T
            index = likeness.argmax(axis=1)
            value = np.take_along_axis(likeness, index[:, None], axis=1)[:, 0]
            better = value > best[rows]
            best[rows] = np.where(better, value, best[rows])
            partner[rows] = np.where(better, index + column, partner[rows])
    return partner, best


def _copies(
    pictures: Pictures, groups: list[list[int]], level: Level, code: Code, where: str, how_to_fix: str
) -> Finding:
    files = [
        pictures.mention(index, f"picture {number}: {pictures.splits[index]}, {pictures.labels[index]}")
        for number, group in enumerate(groups, 1)
        for index in group
    ]
    message = f"{len(groups)} picture{_s(len(groups))} {where}, pixel by pixel the same ({len(files)} in all)"
    return Finding(level, code, message, how_to_fix, tuple(files))


def _either(names: list[str]) -> str:
    """As in "train, val or calibration"."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _s(count: int) -> str:
    return "" if count == 1 else "s"
