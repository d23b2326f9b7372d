"""Arrays on disk under names that reveal nothing; a damaged file is the same as none."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ra_core.config import PreprocessingConfig
from ra_core.errors import DataError
from ra_core.files import write_atomically

__all__ = ["KEPT", "ArrayCache", "content_hash", "forget_all_but_latest", "keep_in_cache", "part_of", "told_as_cache"]

KEPT = 8
"""Preprocessings that a site keeps files of: each study may have another, and its server alone chooses it."""

_PART = re.compile("[0-9a-f]{16}")

_DIGEST = hashlib.sha256().digest_size


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex. A file that didn't change is read once a process.

    Raises:
        DataError: the file can't be read.
    """
    try:
        stat = path.stat()
        return _content_hash(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({type(error).__name__})", "bring the file back") from None


@lru_cache(maxsize=1 << 18)
def _content_hash(path: Path, _size: int, _mtime_ns: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def told_as_cache(folder: Path) -> Iterator[None]:
    """What the disk refuses becomes a DataError that says how to go on.

    Args:
        folder: the cache that is read or written.

    Raises:
        DataError: its files can't be read or written.
    """
    try:
        yield
    except OSError as error:
        reason = f"{folder}: can't be used as a cache ({type(error).__name__})"
        raise DataError(reason, "name another folder in --cache or RA_CACHE, or make room") from None


def keep_in_cache(file: Path, content: bytes) -> None:
    """Write a file of a cache, atomically: for its owner alone, and so are its folders where they are made.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    _make(file.parent)
    with contextlib.suppress(FileNotFoundError):  # another process swept the folder meanwhile: kept the next time
        write_atomically(file, content, mode=0o600)


def part_of(folder: Path, preprocessing: PreprocessingConfig) -> Path:
    """Where a cache keeps what was made with one preprocessing.

    Args:
        folder: of the cache.
        preprocessing: the study's.
    """
    return folder / preprocessing.digest()[:16]


def forget_all_but_latest(folder: Path, preprocessing: PreprocessingConfig) -> None:
    """Delete what a cache has of preprocessings that weren't used for longest, all but `KEPT`.

    Args:
        folder: of the cache.
        preprocessing: that is used now; it stays.

    Raises:
        DataError: the folder can't be used.
    """
    used = part_of(folder, preprocessing)
    with told_as_cache(folder):
        _make(used)
        os.utime(used)
        parts = [path for path in folder.iterdir() if _PART.fullmatch(path.name) and path != used]
        for part in sorted(parts, key=_last_used, reverse=True)[KEPT - 1 :]:
            shutil.rmtree(part, ignore_errors=True)  # another process may be at it, too


def _make(part: Path) -> None:
    for folder in (part.parent, part):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _last_used(part: Path) -> int:
    try:
        return part.stat().st_mtime_ns
    except FileNotFoundError:  # another process was faster
        return 0


class ArrayCache:
    """One .npy file an array, followed by the SHA-256 of its bytes; readable by its owner alone.

    Args:
        folder: made when first written to. Whoever can read it can see the images.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str, compute: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
        """The array under `key`, computed and stored where there is no sound one.

        Raises:
            DataError: the folder can't be read or written.
        """
        file = self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.npy"
        with told_as_cache(self.folder):
            stored = _load(file)
            if stored is None:
                stored = compute()
                _store(file, stored)
        return stored


def _load(file: Path) -> NDArray[np.float32] | None:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    array, digest = content[:-_DIGEST], content[-_DIGEST:]
    if hashlib.sha256(array).digest() != digest:
        return None
    loaded: NDArray[np.float32] = np.load(io.BytesIO(array), allow_pickle=False)
    return loaded


def _store(file: Path, array: NDArray[np.float32]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    keep_in_cache(file, buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest())
