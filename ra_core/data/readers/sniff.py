"""What a file is by its first bytes; its name only helps to say why it is none of what is read."""

from __future__ import annotations

import gzip
import stat
from pathlib import Path

from ra_core.data.readers.refusal import Reason, Refusal
from ra_core.data.readers.source import Kind
from ra_core.data.readers.unpack import unpacked

__all__ = ["sniff"]

_HEAD = 352
_RASTER = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_NOT_READ = {b"GIF8": "GIF", b"\0\0\0\x0cjP  ": "JPEG 2000", b"NRRD": "NRRD", b"ObjectType": "MetaImage"}
_FORMATS = "DICOM, NIfTI (.nii, .nii.gz), PNG, JPEG, TIFF and BMP are read"


def sniff(path: Path) -> Kind:
    """Tell the kind of a file.

    Raises:
        Refusal: it is no file, empty, or nothing that is read.
        OSError: it can't be opened.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
        raise Refusal(Reason.NOT_A_FILE, "no regular file", "leave it out")
    with unpacked(path) as stream:
        head, packed = stream.read(_HEAD), isinstance(stream, gzip.GzipFile)
    if not (head or packed):
        raise Refusal(Reason.EMPTY_FILE, "empty file", "export the file again")
    kind = _kind(head)
    if kind is None:
        raise _unknown(path, head)
    if packed and kind != "nifti":
        raise Refusal(Reason.UNSUPPORTED_CONTENT, f"gzip of a {kind} file", "unpack the file")
    return kind


def _kind(head: bytes) -> Kind | None:
    if head[128:132] == b"DICM":  # before raster: such a file may also begin as a TIFF
        return "dicom"
    if _is_nifti(head):
        return "nifti"
    if head.startswith(_RASTER) or _is_bmp(head):
        return "raster"
    return "dicom" if _is_bare_dicom(head) else None


def _is_nifti(head: bytes) -> bool:
    """Of version 1 or 2, in one file or as the header of a pair."""
    return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0")


def _is_bmp(head: bytes) -> bool:
    """Two letters and, which no text has, four reserved zeros."""
    return head.startswith(b"BM") and head[6:10] == bytes(4)


def _is_bare_dicom(head: bytes) -> bool:
    """Without a preamble, group 2 or 8 comes first, with a small element number."""
    return (head[:2] in (b"\x02\0", b"\x08\0") and head[3:4] == b"\0") or head.startswith(b"\0\x08\0")


def _unknown(path: Path, head: bytes) -> Refusal:
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz", ".hdr")):
        return Refusal(Reason.NOT_NIFTI, "holds no NIfTI", "export the file again")
    if name.endswith((".dcm", ".dicom", ".ima")):
        return Refusal(Reason.NOT_DICOM, "holds no DICOM", "export the file again")
    for start, format_name in _NOT_READ.items():
        if head.startswith(start):
            return Refusal(Reason.UNSUPPORTED_CONTENT, f"{format_name} is not read", _FORMATS)
    if name.endswith((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")):
        return Refusal(Reason.DAMAGED, "damaged at its beginning", "copy the file again")
    return Refusal(Reason.NOT_AN_IMAGE, "no image of a known format", _FORMATS)
