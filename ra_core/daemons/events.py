"""What happened, as JSON lines: one object a line, appended whole, so that any number of readers may follow."""

from __future__ import annotations

import json
import math
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

__all__ = ["Events", "moment", "read_events"]


def moment(seconds: float = 0.0) -> str:
    """The time, or that so many seconds from now, as events have it: UTC, ISO 8601, milliseconds."""
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Events:
    """A file of events that grows.

    Args:
        path: its folder is made where it is missing; readable by its owner alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def tell(self, event: str, **fields: Any) -> None:
        """Append one line: `time` (UTC, ISO 8601, milliseconds), `event`, and the fields; what isn't finite is null.

        Raises:
            OSError: the disk is full or the folder can't be written.
            TypeError: a field is no JSON value.
        """
        line = (
            json.dumps(_finite({"time": moment(), "event": event} | fields), ensure_ascii=False, allow_nan=False) + "\n"
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, _mended(handle) + line.encode("utf-8", "backslashreplace"))
        finally:
            os.close(handle)


def read_events(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Events from a place in the file on; lines that are no event (a killed writer's half) are left out.

    Args:
        path: a missing file has no events.
        offset: bytes read so far.

    Returns:
        The events, and the offset for the next call: a last line without its end is read then.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read()
    except FileNotFoundError:
        return [], offset
    whole = content[: content.rfind(b"\n") + 1]
    return [event for line in whole.splitlines() if (event := _event(line)) is not None], offset + len(whole)


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict) and isinstance(found.get("event"), str) and isinstance(found.get("time"), str):
        return found
    return None


def _mended(handle: int) -> bytes:
    """The end of a line that a killed writer has left open."""
    size = os.fstat(handle).st_size
    return b"\n" if size and os.pread(handle, 1, size - 1) != b"\n" else b""


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value
