"""What earlier scans saw in files that did not change since: pixels are decoded once, not at every start."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ra_core.config import LimitsConfig, PreprocessingConfig
from ra_core.data.readers import READER_VERSION
from ra_core.data.readers.refusal import Reason
from ra_core.data.readers.source import Note
from ra_core.data.scan.records import THUMBNAIL, Picture, Pixels
from ra_core.errors import DataError
from ra_core.storage import write_atomically

__all__ = ["Looks"]

_VERSION = 1
"""Raised with every change of what a look finds."""


class Looks:
    """Looks at files by a digest of path, size, time of change and everything that a look depends on.

    The file holds no name and nothing of a header, but small pictures: it is readable by its owner alone, and belongs
    where the images belong. A file that is damaged or of another version is the same as none.

    Args:
        folder: where it is kept; None keeps nothing.
        root, preprocessing, limits: what the scan is of.
    """

    def __init__(
        self, folder: Path | None, root: Path, preprocessing: PreprocessingConfig, limits: LimitsConfig
    ) -> None:
        asked = f"{preprocessing.digest()}/{limits.digest()}/{READER_VERSION}/{_VERSION}"
        self._salt = f"{root.absolute()}\0{asked}"
        self._file = folder / f"scan-{_sha256(self._salt)}.json" if folder else None
        self._before = _load(self._file) if self._file else {}
        self._now: dict[str, Pixels] = {}

    def of(self, file: Path, look: Callable[[], Pixels]) -> Pixels:
        """What is to be seen in a file, looked at only where that is not known.

        Raises:
            What `look` raises, and OSError where the file is gone.
        """
        if self._file is None:
            return look()
        status = file.stat()
        state = f"{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}"
        key = _sha256(f"{self._salt}\0{file}\0{state}")
        self._now[key] = seen = self._before.get(key) or look()
        return seen

    def keep(self) -> None:
        """Write what was seen since this was made; what is there no more is forgotten.

        Raises:
            DataError: the folder can't be written.
        """
        if self._file is None or self._now.keys() == self._before.keys():
            return
        content = json.dumps({key: _encoded(seen) for key, seen in self._now.items()})
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self._file, content.encode(), mode=0o600)
        except OSError as error:
            reason = f"{self._file.parent}: can't be used as a cache ({type(error).__name__})"
            raise DataError(reason, "name another folder in --cache or RA_CACHE, or make room") from None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _load(file: Path) -> dict[str, Pixels]:
    try:
        return {key: _decoded(seen) for key, seen in json.loads(file.read_bytes()).items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _encoded(seen: Pixels) -> list[Any]:
    pictures = [{**vars(picture), "thumbnail": _text(picture.thumbnail)} for picture in seen.pictures]
    return [pictures, seen.skipped, seen.notes]


def _decoded(seen: list[Any]) -> Pixels:
    pictures, skipped, notes = seen
    return Pixels(
        tuple(_picture(stored) for stored in pictures),
        tuple((Reason(reason), int(count)) for reason, count in skipped),
        tuple(Note(note) for note in notes),
    )


def _text(thumbnail: NDArray[np.uint8]) -> str:
    return base64.b64encode(thumbnail.tobytes()).decode()


def _picture(stored: dict[str, Any]) -> Picture:
    thumbnail = np.frombuffer(base64.b64decode(stored["thumbnail"]), np.uint8).reshape(THUMBNAIL, THUMBNAIL)
    return Picture(**{**stored, "thumbnail": thumbnail})
