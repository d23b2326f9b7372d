"""What a compressed frame says of itself, before it is decoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = ["Codestream", "codestream", "is_whole"]

_JPEG = b"\xff\xd8"
_JPEG_2000 = b"\xff\x4f\xff\x51"  # start of codestream, then its size
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_END = b"\xff\xd9"
# Start of frame: DCT and lossless processes, and JPEG-LS; C4, C8 and CC are other markers.
_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})


@dataclass(frozen=True)
class Codestream:
    """Size and precision that the codec will decode.

    Attributes:
        rows, columns, samples: how many.
        precision: bits a sample.
        start: where it begins in the frame: behind the boxes of a JP2 file.
    """

    rows: int
    columns: int
    samples: int
    precision: int
    start: int = 0


def codestream(frame: bytes) -> Codestream | None:
    """Read the frame header of JPEG, JPEG-LS (ITU-T T.81 B.2.2, T.87 C.2.2) or JPEG 2000 (T.800 A.5.1).

    That of JPEG 2000 stands where a decoder takes it from, and is never searched for: at the beginning, or in the
    codestream box of a JP2 file (T.800 I.4).

    Returns:
        None where there is none, or it is not whole.
    """
    try:
        if frame.startswith(_JPEG):
            return _jpeg(frame)
        start = _box(frame) if frame.startswith(_JP2) else 0
        return _jpeg_2000(frame, start) if frame.startswith(_JPEG_2000, start) else None
    except (IndexError, struct.error):
        return None


def is_whole(frame: bytes) -> bool:
    """Whether a JPEG, JPEG-LS or JPEG 2000 frame has its end marker; a byte or so of padding may follow."""
    return _END in frame[-16:]


def _jpeg(frame: bytes) -> Codestream:
    at = 2
    while frame[at + 1] not in _FRAME:
        at += 1 if frame[at + 1] == 0xFF else 2 + struct.unpack_from(">H", frame, at + 2)[0]
    precision, rows, columns, samples = struct.unpack_from(">BHHB", frame, at + 4)
    return Codestream(rows, columns, samples, precision)


def _box(frame: bytes) -> int:
    """Where the content of the first codestream box begins; the frame's length where there is none."""
    at = 0
    while True:
        length, kind = struct.unpack_from(">L4s", frame, at)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", frame, at + head)
            head = 16
        if kind == b"jp2c":
            return at + head
        if length < head:  # nonsense, or a box that goes to the end
            return len(frame)
        at += length


def _jpeg_2000(frame: bytes, start: int) -> Codestream:
    right, bottom, left, top = struct.unpack_from(">4L", frame, start + 8)
    samples, precision = struct.unpack_from(">HB", frame, start + 40)
    return Codestream(bottom - top, right - left, samples, (precision & 0x7F) + 1, start)
