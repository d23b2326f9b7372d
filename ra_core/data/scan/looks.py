"""What earlier scans saw in files that did not change since: pixels are decoded once, not at every start."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ra_core.config import LimitsConfig, PreprocessingConfig
from ra_core.data.cache import keep_in_cache, part_of, told_as_cache
from ra_core.data.readers import READER_VERSION
from ra_core.data.readers.refusal import Reason
from ra_core.data.readers.source import Note
from ra_core.data.scan.records import THUMBNAIL, Picture, Pixels

__all__ = ["Looks"]

_VERSION = 2
"""Raised with every change of what a look finds, or of how it is written."""

_Look = list[Any]
"""Digest of the file's state, and what was seen."""


class Looks:
    """Looks at files: by a digest of the path, with one of size, time of change and all that a look depends on.

    The file holds no name and nothing of a header, but small pictures: it is readable by its owner alone, and belongs
    where the images belong. A file that is damaged or of another version is the same as none. Sites with one root share
    it, and add to it.

    Args:
        folder: where it is kept; None keeps nothing.
        root, preprocessing, limits: what the scan is of.
    """

    def __init__(
        self, folder: Path | None, root: Path, preprocessing: PreprocessingConfig, limits: LimitsConfig
    ) -> None:
        asked = f"{preprocessing.digest()}/{limits.digest()}/{READER_VERSION}/{_VERSION}"
        self._root = root.absolute()
        self._salt = f"{self._root}\0{asked}"
        self._file = part_of(folder, preprocessing) / f"scan-{_sha256(self._salt)}.json" if folder else None
        self._before = _load(self._file) if self._file else {}
        self._new: dict[str, _Look] = {}

    def of(self, file: Path, look: Callable[[], Pixels]) -> Pixels:
        """What is to be seen in a file, looked at only where that is not known.

        Raises:
            What `look` raises, and OSError where the file is gone.
        """
        if self._file is None:
            return look()
        status = file.stat()
        key = self._key(file.absolute())
        state = _sha256(f"{self._salt}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}")
        known = _known(self._before.get(key), state)
        if known is not None:
            return known
        seen = look()
        self._new[key] = [state, _encoded(seen)]
        return seen

    def keep(self) -> None:
        """Add what was looked at since this was made to what is kept by now; files that are gone are forgotten.

        Raises:
            DataError: the folder can't be written.
        """
        if self._file is None or not self._new:
            return
        there = {self._key(Path(folder, name)) for folder, _, names in os.walk(self._root) for name in names}
        earlier = {key: look for key, look in _load(self._file).items() if key in there}
        content = json.dumps(earlier | self._new)
        with told_as_cache(self._file.parent):
            keep_in_cache(self._file, content.encode())

    def _key(self, file: Path) -> str:
        return _sha256(f"{self._salt}\0{file}")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _load(file: Path) -> dict[str, _Look]:
    try:
        return dict(json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}


def _known(kept: _Look | None, state: str) -> Pixels | None:
    """What was seen of a file in this state; None where it is not known."""
    try:
        return _decoded(kept[1]) if kept and kept[0] == state else None
    except (ValueError, TypeError, LookupError, AttributeError):
        return None


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
