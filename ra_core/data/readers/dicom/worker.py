"""The other end of `apart`: run as a script, it decodes frames from its input until that ends. Imports none of ours."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import IO

from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

__all__ = ["receive", "send"]

# What libjpeg says, and goes on with pixels of its own invention.
_INVENTED = (b"premature end of data", b"bad Huffman code")


def send(stream: IO[bytes], *parts: bytes) -> None:
    """Write two byte strings, each with its length before it."""
    for part in parts:
        stream.write(len(part).to_bytes(8, "big"))
        stream.write(part)
    stream.flush()


def receive(stream: IO[bytes], longest: int = sys.maxsize) -> tuple[bytes, bytes] | None:
    """Read what `send` wrote; None where the other side has ended, or sends a string of more than `longest` bytes."""
    parts = []
    for _ in range(2):
        head = stream.read(8)
        length = int.from_bytes(head, "big")
        if len(head) < 8 or length > longest or len(part := stream.read(length)) < length:
            return None
        parts.append(part)
    return parts[0], parts[1]


def _decoded(question: bytes, frame: bytes, complaints: IO[bytes]) -> tuple[bytes, bytes]:
    """Kind of number and pixels; empty where the frame is damaged."""
    asked = json.loads(question)
    start = complaints.seek(0, os.SEEK_END)
    try:
        pixels, _ = get_decoder(asked["syntax"]).as_array(encapsulate([frame]), index=0, **asked["options"])
    except Exception:  # whatever it is, the frame is damaged
        return b"", b""
    complaints.seek(start)
    said = complaints.read()
    if any(phrase in said for phrase in _INVENTED):
        return b"", b""
    return pixels.dtype.str.encode(), pixels.tobytes()


def main() -> None:
    """Answer until the input ends. Whatever libraries print is kept away from the answers, and read."""
    answers = os.fdopen(os.dup(1), "wb")
    with tempfile.TemporaryFile() as complaints:
        os.dup2(complaints.fileno(), 1)
        os.dup2(complaints.fileno(), 2)
        while (asked := receive(sys.stdin.buffer)) is not None:
            send(answers, *_decoded(*asked, complaints))
            complaints.truncate(0)


if __name__ == "__main__":
    main()
