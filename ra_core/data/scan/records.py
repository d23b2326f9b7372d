"""What a scan of a folder knows of every file. It holds paths and patients, so it stays at the site."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ra_core.data.readers.refusal import Reason
from ra_core.data.readers.source import Facts, Note

__all__ = ["THUMBNAIL", "Entry", "Picture", "Pixels", "Scan", "Series"]

THUMBNAIL = 32
"""Side of the small preprocessed copy that duplicates and outliers are looked for on."""


@dataclass(frozen=True)
class Picture:
    """One picture of a file that was read and is fit.

    Attributes:
        frame: its number in the file, as `Source.picture` counts.
        digest: SHA-256 of its pixels and shape, in hex: equal for copies, whatever the format.
        thumbnail: uint8 (THUMBNAIL, THUMBNAIL), preprocessed as the study says, then shrunk.
        mean, spread, foreground, sharpness: of the preprocessed image, in [0, 1]: mean grey, standard deviation, share
            of pixels over 0.1, mean gradient magnitude.
        text: share of the picture that looks like burned-in text, in [0, 1].
    """

    frame: int
    digest: str
    thumbnail: NDArray[np.uint8]
    mean: float
    spread: float
    foreground: float
    sharpness: float
    text: float


@dataclass(frozen=True)
class Pixels:
    """All that is to be seen in one file: nothing of its name or header.

    Attributes:
        pictures: those that are fit.
        skipped: reasons of the others, with counts.
        notes: of the pictures.
    """

    pictures: tuple[Picture, ...]
    skipped: tuple[tuple[Reason, int], ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One file, read to its last byte.

    Attributes:
        path: relative to the root, with forward slashes.
        reason: why it is not used; None where it is.
        message: the reason in words, with how to mend it; empty where it is used. Names no file and no patient.
        facts: what its header says; None where that could not be read.
        pictures: those that are fit; empty where the file is not used.
        skipped: reasons of its other pictures (the empty slices of a volume), with counts.
        notes: what was put right or could not be known, of the file and its pictures.
        patient: key that is the same for all files of one patient; empty where nothing tells. Never printed.
        copies: the file that holds its pictures; empty where no other does. Of files that are healthy and anomalous at
            once, none of which is used, the first.
        lost: it ought to be an image of the site, and is not used.
    """

    path: str = field(repr=False)
    reason: Reason | None
    message: str = ""
    facts: Facts | None = None
    pictures: tuple[Picture, ...] = ()
    skipped: tuple[tuple[Reason, int], ...] = ()
    notes: tuple[Note, ...] = ()
    patient: str = field(default="", repr=False)
    copies: str = field(default="", repr=False)
    lost: bool = False

    @property
    def accepted(self) -> bool:
        """Whether it is used."""
        return self.reason is None

    def aside(self, reason: Reason, message: str, copies: str = "", lost: bool = False) -> Entry:
        """The same file left aside, though it was read: it has no pictures any more."""
        return replace(self, reason=reason, message=message, pictures=(), skipped=(), copies=copies, lost=lost)


@dataclass(frozen=True)
class Series:
    """Files that are slices of one stack, in its order from feet to head (or back to front, right to left).

    Attributes:
        paths: of the accepted files, ordered by position along the normal, one a position.
        gaps: index after which a slice is missing.
        tilted: positions are sheared against the normal (gantry tilt).
    """

    paths: tuple[str, ...] = field(repr=False)
    gaps: tuple[int, ...]
    tilted: bool


@dataclass(frozen=True)
class Scan:
    """All files under a root, sorted by path, so that the same folder gives the same scan on every machine.

    Attributes:
        root: the folder.
        entries: one a file.
        series: stacks of single-slice DICOM files.
    """

    root: Path = field(repr=False)
    entries: tuple[Entry, ...]
    series: tuple[Series, ...] = ()

    @cached_property
    def accepted(self) -> tuple[Entry, ...]:
        """Files that are used."""
        return tuple(entry for entry in self.entries if entry.accepted)

    @property
    def reasons(self) -> Counter[Reason]:
        """How many files are not used, by reason."""
        return Counter(entry.reason for entry in self.entries if entry.reason is not None)

    @property
    def lost_reasons(self) -> Counter[Reason]:
        """The same of the files that ought to be images of the site."""
        return Counter(entry.reason for entry in self.entries if entry.reason is not None and entry.lost)

    @property
    def lost(self) -> int:
        """Files that ought to be images of the site and can't be used: not those that are left aside as expected."""
        return self.lost_reasons.total()

    @property
    def meant(self) -> int:
        """Files that ought to be images of the site: those that are used, and those that are lost."""
        return len(self.accepted) + self.lost

    @property
    def lost_share(self) -> float:
        """Of the files that ought to be images, the share that can't be used; 0 of none."""
        meant = self.meant
        return self.lost / meant if meant else 0.0
