"""What a check says: how bad it is, what it is, what to do, and which files show it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Code", "Finding", "Level", "Mention"]


class Level(StrEnum):
    """How bad it is."""

    ERROR = "error"  # the site may not join
    WARNING = "warning"  # figures may mislead, or somebody has to look
    INFO = "info"


class Code(StrEnum):
    """What was found. Names nothing of a file or patient, so it may stand in any report."""

    # reading
    NOTHING_READ = "nothing_read"
    TOO_MANY_LOST = "too_many_lost"
    LOST = "lost"
    LEFT_ASIDE = "left_aside"
    PUT_RIGHT = "put_right"
    NO_PATIENT = "no_patient"
    SEVERAL_MODALITIES = "several_modalities"
    SERIES_GAPS = "series_gaps"
    TILTED = "tilted"
    MASK_UNREADABLE = "mask_unreadable"
    MASK_OTHER_GRID = "mask_other_grid"
    MASK_NOT_BINARY = "mask_not_binary"
    BOX_UNFIT = "box_unfit"
    # splits
    PATIENT_IN_TWO_SPLITS = "patient_in_two_splits"
    COPIES_ACROSS_SPLITS = "copies_across_splits"
    COPIES_ACROSS_LABELS = "copies_across_labels"
    COPIES = "copies"
    NEAR_COPIES_ACROSS_SPLITS = "near_copies_across_splits"
    # pictures
    TURNED = "turned"
    INVERTED = "inverted"
    UNLIKE_SITE = "unlike_site"
    UNLIKE_CONSORTIUM = "unlike_consortium"
    SITE_UNLIKE_CONSORTIUM = "site_unlike_consortium"
    SITE_TURNED = "site_turned"
    TEXT = "text"
    LEAST_TYPICAL_HEALTHY = "least_typical_healthy"
    # use
    SHORTCUT = "shortcut"
    TOO_FEW = "too_few"
    TOO_FEW_FOR_THRESHOLD = "too_few_for_threshold"
    NOT_MEASURABLE = "not_measurable"


@dataclass(frozen=True)
class Mention:
    """A picture, or a file that none was read from. Holds a file name: site-only.

    Attributes:
        path: relative to the root.
        frame: the picture in the file; None where the file as a whole is meant.
        remark: why it is here, without a name of a file or patient.
        like: path and frame of the picture that it is compared with.
    """

    path: str
    frame: int | None = None
    remark: str = ""
    like: tuple[str, int] | None = None


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        level: how bad it is.
        code: what it is.
        message: with counts, free of names of files and patients.
        how_to_fix: what a person can do about it; empty where nothing has to be done.
        files: what shows it; site-only.
    """

    level: Level
    code: Code
    message: str
    how_to_fix: str = ""
    files: tuple[Mention, ...] = field(default=(), repr=False)
