"""The header of a DICOM file: the tags that reading needs, and where the pixels begin. No pixel is touched."""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import ENCODED_VR, read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from ra_core.data.readers.dicom.objects import refuse_object
from ra_core.data.readers.dicom.values import text
from ra_core.data.readers.refusal import Reason, Refusal
from ra_core.data.readers.source import Note

__all__ = ["Header", "read_header"]

# pydicom's warnings and log quote values and file names, which belong to a patient.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
warnings.filterwarnings("ignore", module=r"(pydicom|openjpeg)\.")

_INFLATED = 1 << 27
"""Bytes that a deflated file may become: 8192 × 8192 pixels of 16 bits. Nothing in it can be checked before."""

_META = (0x00020002, 0x00020010)  # MediaStorageSOPClassUID, TransferSyntaxUID
# Of whom the patient is, only PatientID is parsed: images are grouped by it.
_NAMES = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID"),
    *("Modality", "ImageType", "BodyPartExamined", "BurnedInAnnotation"),
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelAspectRatio"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
    *("ImageOrientationPatient", "ImagePositionPatient", "PatientOrientation", "PresentationLUTShape"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *(
        f"{colour}PaletteColorLookupTable{part}"
        for colour in ("Red", "Green", "Blue")
        for part in ("Descriptor", "Data")
    ),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
)
_TAGS = [tag for tag in map(tag_for_keyword, _NAMES) if tag is not None]
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # of float, of double, of whole numbers
_WHOLE_NUMBERS = 0x7FE00010
_UNDEFINED = 0xFFFFFFFF
_EXPORT = "export it again"


@dataclass(frozen=True, repr=False)  # its text would name the patient
class Header:
    """What a file says before its pixels.

    Attributes:
        tags: the tags that reading needs, and no others.
        sop_class: UID, of the object or else of the file; empty where not said.
        syntax: transfer syntax, guessed where the notes say so.
        vr: value representation of the pixels; empty where the encoding has none.
        start: where the pixels begin in `open()`.
        length: bytes that the pixels claim; None where they come in fragments.
        present: bytes that are there from `start` to the end of the file.
        notes: what was put right.
    """

    tags: Dataset
    sop_class: str
    syntax: UID
    vr: str
    start: int
    length: int | None
    present: int
    notes: tuple[Note, ...]
    _path: Path
    _inflated: bytes | None

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The file, inflated, at the beginning of its pixels."""
        with io.BytesIO(self._inflated) if self._inflated is not None else _Bounded(self._path) as stream:
            stream.seek(self.start)
            yield stream


class _Bounded(io.BufferedReader):
    """A file of which no read takes more memory than the file has bytes, whatever length a tag claims."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._size = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        rest = max(0, self._size - self.tell())
        return super().read(rest if size is None or size < 0 else min(size, rest))


def read_header(path: Path) -> Header:
    """Parse a file up to its pixels.

    Raises:
        Refusal: it is no DICOM file, or a DICOM object that is no image; it ends in its header, or has no pixels; it is
            deflated and becomes too large; its transfer syntax is missing and can't be guessed.
    """
    with _Bounded(path) as file:
        preamble = file.read(132)[128:] == b"DICM"
        if not preamble:
            file.seek(0)
        meta = read_dataset(file, False, True, stop_when=_behind_meta, specific_tags=list(_META))
        said = text(meta, "TransferSyntaxUID")
        inflated = _inflate(file) if said == DeflatedExplicitVRLittleEndian else None
        stream: BinaryIO = file if inflated is None else io.BytesIO(inflated)
        size = path.stat().st_size if inflated is None else len(inflated)
        syntax = UID(said) if said else _guess(stream)
        little = syntax != ExplicitVRBigEndian
        tags = read_dataset(
            stream, syntax == ImplicitVRLittleEndian, little, stop_when=_at_pixels, specific_tags=list(_TAGS)
        )
        sop_class = text(tags, "SOPClassUID") or text(meta, "MediaStorageSOPClassUID")
        if not sop_class and "Rows" not in tags:
            raise _no_object(preamble)
        refuse_object(tags, sop_class)
        vr, length = _pixels(stream, tags, little, size)
        start = stream.tell()
    if length == _UNDEFINED and not said:
        raise Refusal(Reason.NO_TRANSFER_SYNTAX, "compressed, and no transfer syntax is told", _EXPORT)
    notes = (Note.NO_PREAMBLE,) if not preamble else () if said else (Note.NO_TRANSFER_SYNTAX,)
    claimed = None if length == _UNDEFINED else length
    return Header(tags, sop_class, syntax, vr, start, claimed, size - start, notes, path, inflated)


def _no_object(preamble: bool) -> Refusal:
    if preamble:
        return Refusal(Reason.DAMAGED, "a DICOM file without an object in it", _EXPORT)
    return Refusal(Reason.NOT_DICOM, "no DICOM file", "leave it, or export it again")


def _behind_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag >> 16 != 2


def _at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag in _PIXELS


def _inflate(file: BinaryIO) -> bytes:
    """Undo the deflation of all that follows (DICOM PS3.5 A.5), as far as the limit."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    content = engine.decompress(file.read(_INFLATED), _INFLATED)
    if len(content) == _INFLATED:
        raise Refusal(
            Reason.TOO_LARGE,
            f"deflated, and more than {_INFLATED >> 20} MiB inflated",
            "convert it to another transfer syntax",
        )
    if not engine.eof:
        raise Refusal(Reason.TRUNCATED, "the deflated content ends early", "copy the file again")
    return content


def _guess(stream: BinaryIO) -> UID:
    """An uncompressed transfer syntax by the first tag: explicit where a known value representation follows it."""
    head = stream.read(6)
    stream.seek(-len(head), io.SEEK_CUR)
    if len(head) < 6 or head[4:6] not in ENCODED_VR:
        return ImplicitVRLittleEndian
    (group,) = struct.unpack("<H", head[:2])
    return ExplicitVRBigEndian if group >= 0x0400 else ExplicitVRLittleEndian


def _pixels(stream: BinaryIO, tags: Dataset, little: bool, size: int) -> tuple[str, int]:
    """Value representation and length of the pixels; the stream is left at their first byte."""
    implicit, order = bool(tags.original_encoding[0]), "<" if little else ">"
    head = stream.read(8 if implicit else 12)
    if len(head) < (8 if implicit else 12):
        if stream.tell() > size or _is_cut(tags):
            raise Refusal(Reason.TRUNCATED, "the file ends in its header", "copy the file again")
        raise Refusal(Reason.NO_PIXEL_DATA, "no pixel data", _EXPORT)
    group, element = struct.unpack(f"{order}HH", head[:4])
    if (group << 16 | element) != _WHOLE_NUMBERS:
        raise Refusal(Reason.UNSUPPORTED_CONTENT, "pixels that are no whole numbers", _EXPORT)
    (length,) = struct.unpack(f"{order}L", head[-4:])
    return "" if implicit else head[4:6].decode("latin-1"), length


def _is_cut(tags: Dataset) -> bool:
    """Whether a tag claims more bytes than were left."""
    elements = [tags.get_item(tag) for tag in tags.keys()]  # noqa: SIM118 - a dataset iterates over converted elements
    claims = [(element.value, getattr(element, "length", 0)) for element in elements]  # a raw one has its length
    return any(isinstance(value, bytes) and len(value) < length != _UNDEFINED for value, length in claims)
