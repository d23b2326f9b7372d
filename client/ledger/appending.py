"""Appending to a file so that what was appended survives a crash."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ra_core.files import sync_folder

__all__ = ["append"]


def append(path: Path, content: bytes) -> None:
    """Append, and return only when it is safe on the disk.

    Args:
        path: a new file is readable by its owner alone.
        content: what is appended.

    Raises:
        OSError: it isn't safe; what was written of it has been taken back, as far as that could be.
    """
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(handle).st_size
        try:
            written = 0
            while written < len(content):
                written += os.write(handle, content[written:])
            os.fsync(handle)
            sync_folder(path.parent)  # each time: who made the file may not have got so far
        except OSError:
            with suppress(OSError):
                os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)
