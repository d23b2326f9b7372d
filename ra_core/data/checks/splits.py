"""What is on two sides of a split: patients, copies and near copies. Each makes figures look better than they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ra_core.data.checks.finding import Code, Finding, Level, Mention
from ra_core.data.checks.pictures import Pictures, unit
from ra_core.data.manifest import LABELS, SPLITS, Row
from ra_core.data.scan.patients import Key, keys_of, same_patients
from ra_core.data.scan.records import Scan

__all__ = ["ALIKE", "check_copies", "check_left_copies", "check_near_copies", "check_patients", "nearest"]

ALIKE = 0.995
"""Correlation of two thumbnails above which they are near copies.

On br35h it finds slices that were exported again with another contrast or sharpness; between different patients of ten
public sites the largest is 0.977, and between 2,240 virtual ones on a common atlas 0.992.
"""

BLOCK = 1024
"""Thumbnails compared at a time: memory does not grow with the number of pictures."""


def check_patients(scan: Scan, rows: Sequence[Row]) -> Iterator[Finding]:
    """Patients in more than one split, by what the rows say and by what the headers of the files say."""
    entries = {entry.path: entry for entry in scan.accepted}
    used = [row for row in rows if row.path in entries]
    patients = same_patients({row.path: keys_of(row.patient_id, entries[row.path].facts) for row in used})
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in used:
        groups[patients[row.path]].append(row)
    torn = [group for group in groups.values() if len({row.split for row in group}) > 1]
    if torn:
        yield Finding(
            Level.ERROR,
            Code.PATIENT_IN_TWO_SPLITS,
            f"{len(torn)} patient{_s(len(torn))} with images in more than one split",
            "put all images of a patient into one split; files whose headers have one PatientID are of one patient",
            tuple(
                Mention(row.path, remark=f"patient {number}: {row.split}")
                for number, group in enumerate(torn, 1)
                for row in group
            ),
        )


def check_left_copies(scan: Scan, rows: Sequence[Row]) -> Iterator[Finding]:
    """Files that were left aside since others hold their pictures, where split or label of both differ."""
    row_of = {row.path: row for row in rows}
    groups: dict[str, list[Row]] = defaultdict(list)
    disputed = {entry.copies for entry in scan.entries if entry.copies and entry.lost}
    for entry in scan.entries:
        if entry.copies and entry.path in row_of:
            groups[entry.copies].append(row_of[entry.path])
    labels, splits = [], []
    for original, group in groups.items():
        if original in disputed:
            labels.append(group)
        elif original in row_of and len({row.split for row in (row_of[original], *group)}) > 1:
            splits.append([row_of[original], *group])
    if labels:
        what = f"{_pictures(len(labels))} healthy and anomalous at once: {sum(map(len, labels))} files, none is used"
        fix = "find out which label is right, and keep that one"
        yield Finding(Level.ERROR, Code.COPIES_ACROSS_LABELS, what, fix, _of_rows(labels))
    if splits:
        what = f"{_pictures(len(splits))} in more than one split: of {sum(map(len, splits))} files one each is used"
        fix = "keep one, in one split; now it is that for train, else for val, calibration, test"
        yield Finding(Level.WARNING, Code.COPIES_ACROSS_SPLITS, what, fix, _of_rows(splits))


def check_copies(pictures: Pictures) -> Iterator[Finding]:
    """Pictures with the very same pixels, all of which are used: of volumes, say, that hold others beside them."""
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
    for place, split in reversed(list(enumerate(SPLITS))):
        late = np.flatnonzero(pictures.splits == split)
        early = np.flatnonzero(np.isin(pictures.splits, SPLITS[:place]))
        if not len(late) or not len(early):
            continue
        before = _either([part for part in SPLITS[:place] if part in pictures.splits])
        partner, likeness = nearest(pictures.thumbnails[late], pictures.thumbnails[early])
        alike = likeness > ALIKE
        for label in LABELS:
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
    message = f"{_pictures(len(groups))} {where}, pixel by pixel the same ({len(files)} in all)"
    return Finding(level, code, message, how_to_fix, tuple(files))


def _of_rows(groups: list[list[Row]]) -> tuple[Mention, ...]:
    return tuple(
        Mention(row.path, remark=f"picture {number}: {row.split}, {row.label}")
        for number, group in enumerate(groups, 1)
        for row in group
    )


def _pictures(count: int) -> str:
    return f"{count} picture{_s(count)}"


def _either(names: list[str]) -> str:
    """As in "train, val or calibration"."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _s(count: int) -> str:
    return "" if count == 1 else "s"
