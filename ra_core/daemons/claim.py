"""The one daemon that a folder has: a lock says that it is there, and a file says who it is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ra_core.errors import RAError
from ra_core.files import write_atomically

__all__ = ["alone", "introduced", "taken"]

LONGEST_LOOK = 1.0
"""Seconds within which whoever asks `taken` has let the lock go again."""


@contextmanager
def alone(lock: Path, refusal: Callable[[], RAError]) -> Iterator[None]:
    """Within, this process is the daemon.

    Args:
        lock: file, in a folder that is there.
        refusal: makes the error that is raised where another process is the daemon.

    Raises:
        RAError: that one.
    """
    try:
        held = FileLock(lock).acquire(timeout=LONGEST_LOOK)
    except Timeout:
        raise refusal() from None
    with held:
        yield


def taken(lock: Path) -> bool:
    """Whether there is a daemon. Makes nothing."""
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def introduced(path: Path, **facts: Any) -> Iterator[None]:
    """Within, a file says who this daemon is: `pid`, when it was `started` (UTC), and the facts.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    write_atomically(path, json.dumps({"pid": os.getpid(), "started": started} | facts, indent=1).encode(), mode=0o600)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
