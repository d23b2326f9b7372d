"""How many processes there is memory for."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import psutil

__all__ = ["free", "peak", "room_for"]

GROUP = Path("/sys/fs/cgroup")
"""Where a container sees its own limit; the machine's free memory is the host's there."""


def room_for(jobs: int) -> int:
    """How many of so many processes like this one fit beside it; at least one.

    A rule of thumb: each is taken to need what this one has needed at most, which by now has tried all methods.
    """
    return max(1, min(jobs, free() // peak()))


def free() -> int:
    """Bytes that further processes can have."""
    left = int(psutil.virtual_memory().available)
    try:
        limit, used = ((GROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        cached = dict(line.split() for line in (GROUP / "memory.stat").read_text().splitlines())
        return left if limit == "max" else min(left, int(limit) - int(used) + int(cached["inactive_file"]))
    except (OSError, ValueError, KeyError):  # no container, or one of another kind
        return left


def peak() -> int:
    """Bytes that this process has needed at most."""
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else 1024 * found
