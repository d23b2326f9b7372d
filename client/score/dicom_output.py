"""Anomaly maps as a DICOM series of secondary captures, which lies in the patient's study beside its source.

Made with highdicom. Who the patient is, which study it is and where the picture lies is taken from the source's header,
value by value; so the series belongs where the source belongs, and stays at the site.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pydicom
from highdicom.sc import SCImage
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from client.score.decided import decided
from client.score.overlay import ColourScale, blend
from ra_core.data.preprocess import scaled
from ra_core.data.readers import stored
from ra_core.data.readers.dicom.geometry import stack_of
from ra_core.data.readers.dicom.groups import macro
from ra_core.model import Model, Result
from ra_core.studies import Study

__all__ = ["captures"]

_SERIES_DESCRIPTION = "Anomaly map - NOT FOR DIAGNOSIS"

_SERIES_NUMBER = 9901
"""High, so that viewers list the series behind those of the scanner."""

_PATIENT = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "IssuerOfPatientID"),
    *("StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"),
    "StudyDescription",
)
_PICTURE = (
    "BodyPartExamined",
    "Laterality",
    "ImageLaterality",
    "ViewPosition",
    "PatientOrientation",
    "BurnedInAnnotation",
)
_PLACE = (
    *("FrameOfReferenceUID", "PositionReferenceIndicator", "ImagePositionPatient", "ImageOrientationPatient"),
    *("SliceThickness", "SpacingBetweenSlices", "SliceLocation"),
    *("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"),
)
_REFERENCE = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SpecificCharacterSet")
_GROUPS = ("NumberOfFrames", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_TAGS = [*_PATIENT, *_PICTURE, *_PLACE, *_REFERENCE, *_GROUPS]


def captures(
    study: Study, result: Result, model: Model, scale: ColourScale, content: str
) -> Iterator[tuple[int, bytes]]:
    """One DICOM file a picture that was scored, with its number from 1: the picture under its map, in colour.

    It lies on the grid that the source stores, whatever way the picture was turned for the model.

    Equal studies and models give equal UIDs, so a second run does not fill an archive with copies.

    Args:
        study: of DICOM files.
        result: of it.
        model: that scored it.
        scale: of the maps' colours.
        content: SHA-256 of the study's files, for the UIDs.

    Raises:
        AttributeError, ValueError: the source's header lacks what a reference needs, or holds what can't be written.
        DataError: the source can't be read any more.
    """
    seed = f"{content}/{model.identity}"
    source_of = lru_cache(maxsize=1)(_source)  # the frames of one file follow each other
    for index in sorted(result.small):
        source = source_of(study.files[index if len(study.files) > 1 else 0], model.terms.preprocessing.volume)
        raw = study.picture(index)
        shown = blend(scaled(raw.pixels, model.card.preprocessing), result.slice_map(index), scale)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they would quote the patient's data
            image = _capture(source.header, np.ascontiguousarray(stored(shown, raw.turn)), seed, index)
            _refer(image, source.header, _place(image, source, index))
            image.DerivationDescription = _description(model, scale, result)
            buffer = io.BytesIO()
            image.save_as(buffer, enforce_file_format=True)
        yield index + 1, buffer.getvalue()


@dataclass(frozen=True)
class _Source:
    """A file's header, and of a multi-frame one the numbers of its frames in the order of the study."""

    header: Dataset
    frames: tuple[int, ...] | None


def _source(path: Path, volume: int) -> _Source:
    header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=_TAGS)
    frames = int(header.get("NumberOfFrames") or 1)
    return _Source(header, stack_of(header, frames, volume).order if frames > 1 else None)


def _capture(header: Dataset, colours: NDArray[np.uint8], seed: str, index: int) -> SCImage:
    image = SCImage(
        pixel_array=colours,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),  # highdicom wants one; the source's own, or none, takes its place below
        study_instance_uid=header.StudyInstanceUID,
        series_instance_uid=_uid(seed, header.SeriesInstanceUID),
        series_number=_SERIES_NUMBER,
        series_description=_SERIES_DESCRIPTION,
        sop_instance_uid=_uid(seed, header.SOPInstanceUID, str(index)),
        instance_number=index + 1,
        manufacturer="federated-ra",
        manufacturer_model_name="Reversed Autoencoder",
        software_versions=version("federated-ra"),
        device_serial_number=hashlib.sha256(seed.encode()).hexdigest()[:16],
        specific_character_set=header.get("SpecificCharacterSet"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    del image.PatientOrientation
    _copy(header, image, *_PATIENT, *_PICTURE)
    return image


def _copy(source: Dataset, image: SCImage, *names: str) -> None:
    """Take values over as they are: whether they are well-formed is not ours to judge."""
    for name in names:
        if name in source:
            image[name] = source[name]


def _place(image: SCImage, source: _Source, index: int) -> int | None:
    """Say where the picture lies, as its source does; returns the frame's number, from 1, of a multi-frame source."""
    _copy(source.header, image, *_PLACE)
    if source.frames is None:
        return None
    frame = source.frames[index]
    for group in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"):
        _copy(macro(source.header, frame, group) or Dataset(), image, *_PLACE)
    return frame + 1


def _refer(image: SCImage, header: Dataset, frame: int | None) -> None:
    """Say which object the picture was made from, and of which series that is."""
    source = Dataset()
    source.ReferencedSOPClassUID = header.SOPClassUID
    source.ReferencedSOPInstanceUID = header.SOPInstanceUID
    if frame is not None:
        source.ReferencedFrameNumber = frame
    series = Dataset()
    series.SeriesInstanceUID = header.SeriesInstanceUID
    series.ReferencedInstanceSequence = [source]
    image.ReferencedSeriesSequence = [series]
    derived = Dataset()
    derived.update(source)
    derived.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)]
    image.SourceImageSequence = [derived]


def _description(model: Model, scale: ColourScale, result: Result) -> str:
    """At most 1024 characters, as DICOM has it: a name of a site has 64, and a number a dozen.

    A site's name may hold letters that the source's character set lacks: they become question marks.
    """
    line = "" if scale.threshold is None else f"; white line at {scale.threshold:.4g}, the site's threshold of pixels"
    text = (
        f"Not for diagnosis. Anomaly map ({model.scoring.name}) of model {model.card.model_hash[:16]}; "
        f"colours from 0 to {scale.top:.4g}{line}. The score of the study is {result.score:.4g}: {decided(result)}."
    )
    return text.encode("ascii", "replace").decode()


def _uid(*parts: str) -> str:
    """A UID derived from a digest (DICOM PS3.5 B.2): equal parts, equal UID."""
    digest = hashlib.sha256("/".join(parts).encode()).hexdigest()
    return f"2.25.{int(digest[:32], 16)}"
