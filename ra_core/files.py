"""Files written atomically, and our cache folder."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from platformdirs import user_cache_path

__all__ = ["cache_folder", "sweep", "sync_folder", "write_atomically"]


def cache_folder() -> Path:
    """Our folder for things that can be made again: the environment variable RA_CACHE, else the user's cache."""
    return Path(os.environ.get("RA_CACHE") or user_cache_path("federated-ra", appauthor=False))


def write_atomically(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file so that a crash at any moment leaves either the old or the new one, never half of it.

    Args:
        path: its folder is made where it is missing.
        content: the whole file.
        mode: rights of the file, less the process's umask.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    half_written = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(half_written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        half_written.replace(path)
    finally:
        half_written.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """See to it that a file that is new in a folder, or has replaced another, is there after the power was lost.

    Raises:
        OSError: it isn't safe.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path, pattern: str = "") -> None:
    """Delete what killed processes had not finished writing with `write_atomically`.

    Args:
        folder: where it lies.
        pattern: "**/" looks into the folders under it too.
    """
    for half_written in folder.glob(pattern + ".*." + 8 * "[0-9a-f]"):
        half_written.unlink(missing_ok=True)
