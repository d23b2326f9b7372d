"""What every reader gives: an opened file that tells its facts, and its pictures one by one."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ra_core.data.readers.turn import STAYS, Turn

__all__ = ["Facts", "Kind", "Note", "RawImage", "Source"]

Kind = Literal["raster", "nifti", "dicom"]


class Note(StrEnum):
    """What a reader put right or could not know. Names nothing of a file or patient."""

    WINDOW_NOT_APPLIED = "window_not_applied"  # it would leave fewer than two grey levels, or is no window
    RESCALE_INCOMPLETE = "rescale_incomplete"  # slope without intercept, or the other way round
    CONTRADICTING_POLARITY = "contradicting_polarity"  # MONOCHROME2, and a presentation that inverts it
    SIGN_PUT_RIGHT = "sign_put_right"  # two's complement under PixelRepresentation 0
    NOT_IN_HOUNSFIELD = "not_in_hounsfield"  # CT whose values can't be said to be HU
    NO_PATIENT_ID = "no_patient_id"  # grouped by study
    SECONDARY_CAPTURE = "secondary_capture"  # may carry burned-in text
    EXTRA_BYTES = "extra_bytes"
    NO_PREAMBLE = "no_preamble"
    NO_TRANSFER_SYNTAX = "no_transfer_syntax"  # guessed from the data
    NOT_GZIP = "not_gzip"  # plain NIfTI under the name .nii.gz
    NOT_FINITE = "not_finite"  # some voxels, made background
    ORIENTATION_GUESSED = "orientation_guessed"
    SHEARED = "sheared"
    FIRST_VOLUME = "first_volume"  # one of several in a 4-D file
    FRAMES_IN_FILE_ORDER = "frames_in_file_order"  # no positions


@dataclass(frozen=True)
class Facts:
    """What is told of a file before a picture is asked for: from its header alone, but of a raster from the picture.

    Attributes:
        kind: what the file is, by its content.
        frames: pictures in the file along the asked plane: 1, or the slices or frames of a volume.
        shape: rows and columns of each picture, upright.
        spacing: millimetres between rows and between columns, upright, or None where the file doesn't say.
        bits: bits stored a sample, or None.
        modality: DICOM's code, upper case; empty where not said.
        body_part: as DICOM has it, upper case; empty where not said.
        positions: millimetres of each picture along the stack's normal, ascending; None where not said.
        patient, study, series, instance: identity, for grouping at the site; empty where not said. Never printed, and
            never in anything that leaves the site.
        normal: unit vector across the pictures, in DICOM's patient axes (to left, back, head), pointing to the head,
            the front or the left, whichever is nearest; None where not said.
        origins: centre of each picture's upper left pixel in millimetres along the patient axes, of a DICOM picture as
            it is stored; None where not said.
        tilted: the stack is sheared against its normal (gantry tilt); never of a single picture.
        burned_in: the header says that text is burned into the pixels.
        turn: what makes each DICOM picture upright; the identity for other kinds.
        notes: what the reader put right or could not know.
    """

    kind: Kind
    frames: int
    shape: tuple[int, int]
    spacing: tuple[float, float] | None = None
    bits: int | None = None
    modality: str = ""
    body_part: str = ""
    positions: tuple[float, ...] | None = None
    patient: str = field(default="", repr=False)
    study: str = field(default="", repr=False)
    series: str = field(default="", repr=False)
    instance: str = field(default="", repr=False)
    normal: tuple[float, float, float] | None = None
    origins: tuple[tuple[float, float, float], ...] | None = None
    tilted: bool = False
    burned_in: bool = False
    turn: Turn = STAYS
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class RawImage:
    """One picture, upright and with large = bright, before any normalisation.

    Attributes:
        pixels: float32 (H, W), finite, in the file's own units after rescale and window; declared padding has the
            lowest value.
        spacing: millimetres between rows and between columns, or None where the file doesn't say.
        kind: what the file is.
        turn: what made a DICOM picture upright; `stored` takes a map of it back.
        notes: what the reader put right for this picture; those of the file are in its facts.
    """

    pixels: NDArray[np.float32]
    spacing: tuple[float, float] | None
    kind: Kind
    notes: tuple[Note, ...] = ()
    turn: Turn = STAYS


class Source(Protocol):
    """An opened file. Memory is that of one file at a time."""

    @property
    def facts(self) -> Facts:
        """Known once the file is opened: from its header alone, but of a raster, which is decoded then, from itself."""
        ...

    def picture(self, index: int) -> RawImage:
        """Picture `index` of `facts.frames`, from feet to head, back to front or right to left where that is known.

        Raises:
            Refusal: it can't be decoded, or is unfit.
        """
        ...
