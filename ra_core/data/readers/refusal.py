"""Why a reader refuses a file; the door adds the file's name and makes it a DataError."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Reason", "Refusal", "refuse_size", "truncated"]


class Reason(StrEnum):
    """Why a file, or a picture in it, is not used. Names nothing of a file or patient, so any report may hold it."""

    # nothing is wrong: such files belong to an export, and are left aside
    SYSTEM_FILE = "system_file"
    NOT_AN_IMAGE = "not_an_image"
    LOCALIZER = "localizer"
    DUPLICATE = "duplicate"
    WRONG_BODY_PART = "wrong_body_part"
    WRONG_MODALITY = "wrong_modality"
    IGNORED = "ignored"  # a rule of the site config says so
    NOT_LISTED = "not_listed"  # no rule of the site config says what the file is for
    MASK_OF_ANOTHER_FILE = "mask_of_another_file"  # by its name, of one that is scored
    EMPTY_SLICE = "empty_slice"  # of a volume that is otherwise good
    OUT_OF_RANGE = "out_of_range"  # a slice beyond the share of the stack that the study uses
    WRONG_PLANE = "wrong_plane"  # a stack in another plane than the study's
    # the file can't be read
    EMPTY_FILE = "empty_file"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    NOT_DICOM = "not_dicom"
    NOT_NIFTI = "not_nifti"
    NO_PIXEL_DATA = "no_pixel_data"
    NO_TRANSFER_SYNTAX = "no_transfer_syntax"
    UNSUPPORTED_TRANSFER_SYNTAX = "unsupported_transfer_syntax"
    NO_DECODER = "no_decoder"
    TOO_LARGE = "too_large"
    NO_ACCESS = "no_access"
    MISSING = "missing"
    NOT_A_FILE = "not_a_file"  # a pipe, a socket, a device
    OUTSIDE_ROOT = "outside_root"  # a link that leads out of the data root
    # it can be read, but is not what may be used
    TOO_SMALL = "too_small"
    CONSTANT_IMAGE = "constant_image"
    NOT_FINITE = "not_finite"
    NOT_3D = "not_3d"
    COLOUR_IMAGE = "colour_image"
    BURNED_IN_ANNOTATION = "burned_in_annotation"
    NOT_IN_HOUNSFIELD = "not_in_hounsfield"
    IMPLAUSIBLE_VALUES = "implausible_values"
    MASK_OTHER_GRID = "mask_other_grid"  # not of its image's size, or in another place
    MASK_NOT_BINARY = "mask_not_binary"  # more than two values
    BOX_UNFIT = "box_unfit"  # on a volume, or beyond its picture
    UNSUPPORTED_CONTENT = "unsupported_content"  # several pictures in one, curves in place of windows, ...

    @property
    def expected(self) -> bool:
        """Whether leaving the file aside is the normal course, and no sign of anything lost."""
        return self in _EXPECTED


_EXPECTED = frozenset(
    {
        Reason.SYSTEM_FILE,
        Reason.NOT_AN_IMAGE,
        Reason.LOCALIZER,
        Reason.DUPLICATE,
        Reason.WRONG_BODY_PART,
        Reason.WRONG_MODALITY,
        Reason.IGNORED,
        Reason.NOT_LISTED,
        Reason.MASK_OF_ANOTHER_FILE,
        Reason.EMPTY_SLICE,
        Reason.OUT_OF_RANGE,
        Reason.WRONG_PLANE,
    }
)


class Refusal(Exception):  # noqa: N818 - says what it is
    """A code, a reason and a hint, each on one line and free of anything that the file says about a patient."""

    def __init__(self, code: Reason, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.hint = hint


def truncated() -> Refusal:
    """Of a file that ends early; a new one each time, as one that was raised keeps what was read alive."""
    return Refusal(Reason.TRUNCATED, "truncated", "copy the file again")


def refuse_size(rows: int, columns: int, max_pixels: int) -> None:
    """Refuse a picture without pixels or with too many.

    Raises:
        Refusal: it is so.
    """
    if rows < 1 or columns < 1:
        raise Refusal(Reason.DAMAGED, f"{rows} × {columns} pixels", "export the file again")
    if rows * columns > max_pixels:
        raise Refusal(
            Reason.TOO_LARGE,
            f"{rows} × {columns} pixels are too many",
            f"export it with no more than {max_pixels} pixels",
        )
