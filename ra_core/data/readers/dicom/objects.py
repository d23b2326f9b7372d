"""What kind of object a DICOM file holds, told by its SOP class before anything else."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import UID

from ra_core.data.readers.dicom.values import text, texts
from ra_core.data.readers.refusal import Reason, Refusal

__all__ = ["is_secondary_capture", "refuse_object"]

_NO_SCAN = frozenset(
    (
        "SEG",
        "PR",
        "KO",
        "SR",
        "REG",
        "FID",
        "PLAN",
        "DOC",
        "AU",
        "ECG",
        "RTDOSE",
        "RTSTRUCT",
        "RTPLAN",
        "RTRECORD",
        "RTIMAGE",
    )
)
_SCOUT = frozenset(("LOCALIZER", "SCOUT"))
_CAPTURE = "SecondaryCapture"


def refuse_object(ds: Dataset, sop_class: str) -> None:
    """Refuse what is no picture of a patient, whether it has pixel data or not.

    DICOM PS3.4 B.5 calls the classes of pictures "... Image Storage". Segmentations, parametric maps and doses have
    pixels and aren't among them; portal images of radiotherapy are, and are refused all the same. A class that is
    not in pydicom's dictionary is a vendor's own, and is judged by its modality.

    Args:
        ds: the header.
        sop_class: UID of its SOP class; empty where not said.

    Raises:
        Refusal: it is no picture, a localizer, or many pictures tiled into one.
    """
    keyword = UID(sop_class).keyword
    if (keyword and not _is_picture(keyword)) or text(ds, "Modality").upper() in _NO_SCAN:
        raise Refusal(Reason.NOT_AN_IMAGE, "a DICOM object that is no image", "leave it; it is not needed")
    kind = {value.upper() for value in texts(ds, "ImageType")}
    if kind & _SCOUT:
        raise Refusal(Reason.LOCALIZER, "a localizer", "leave it; it is not needed")
    if "MOSAIC" in kind:
        raise Refusal(Reason.UNSUPPORTED_CONTENT, "many slices tiled into one picture", "export it as enhanced MR")


def is_secondary_capture(ds: Dataset, sop_class: str) -> bool:
    """Whether it may be a copy of a screen, and nothing says that its pixels are free of text.

    Reformatted slices are SECONDARY too, but lie somewhere in the patient.
    """
    if text(ds, "BurnedInAnnotation").upper() == "NO":
        return False
    secondary = "SECONDARY" in (value.upper() for value in texts(ds, "ImageType")[1:2])
    return _CAPTURE in UID(sop_class).keyword or (secondary and not texts(ds, "ImageOrientationPatient"))


def _is_picture(keyword: str) -> bool:
    if keyword.startswith(("RT", "EnhancedRT", "EnhancedContinuousRT")):
        return False
    return "ImageStorage" in keyword or keyword == "EnhancedUSVolumeStorage"
