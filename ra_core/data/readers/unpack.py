"""Bytes out of a file that may be packed by gzip: never more than its header announces, and to the check sum."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ra_core.data.readers.refusal import Reason, Refusal, truncated

__all__ = ["Part", "is_packed", "unpacked"]

_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20
_SLACK = 1 << 20
_DEFLATE = 1032
"""What deflate packs into one byte at most (zlib's technical notes, "maximum compression factor")."""


def is_packed(path: Path) -> bool:
    """Whether a file is packed by gzip, by its first bytes."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP


@contextmanager
def unpacked(path: Path) -> Iterator[BufferedIOBase]:
    """The file's bytes, inflated where it is packed.

    Raises:
        Refusal: in the body, where the gzip is cut or damaged.
        OSError: it can't be opened.
    """
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
        file.seek(0)
        try:
            yield gzip.GzipFile(fileobj=file) if packed else file
        except EOFError:
            raise truncated() from None
        except (gzip.BadGzipFile, zlib.error):
            raise Refusal(Reason.DAMAGED, "damaged gzip", "copy the file again") from None


@dataclass(frozen=True)
class Part:
    """The bytes of a file that are wanted.

    Attributes:
        offset: how many, unpacked, lie before.
        size: how many are wanted.
        total: how many the header announces for the whole file.
    """

    offset: int
    size: int
    total: int

    def check(self, path: Path) -> None:
        """Compare with the size of the file, before any memory is taken.

        Raises:
            Refusal: the file can't hold so much.
        """
        if self.total > path.stat().st_size * (_DEFLATE if is_packed(path) else 1):
            raise truncated()

    def read(self, path: Path) -> NDArray[np.uint8]:
        """Those bytes; a gzip is read to its end, as its check sum stands there.

        Raises:
            Refusal: the file ends early, is damaged, or unpacks to more than its header announces.
        """
        with unpacked(path) as stream:
            wanted = np.empty(self.size, np.uint8)
            if not isinstance(stream, gzip.GzipFile):
                stream.seek(self.offset)
                _fill(stream, wanted)
            else:
                _skip(stream, self.offset)
                _fill(stream, wanted)
                _skip(stream, self.total - self.offset - self.size)
                if len(stream.read(_SLACK)) == _SLACK:
                    raise Refusal(Reason.DAMAGED, "more data than its header announces", "export the file again")
        return wanted


def _fill(stream: BufferedIOBase, wanted: NDArray[np.uint8]) -> None:
    done = 0
    while done < len(wanted):
        count = stream.readinto(wanted[done : done + _CHUNK].data)
        if not count:
            raise truncated()
        done += count


def _skip(stream: BufferedIOBase, count: int) -> None:
    while count > 0:
        chunk = len(stream.read(min(count, _CHUNK)))
        if not chunk:
            raise truncated()
        count -= chunk
