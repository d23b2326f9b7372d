"""What glibc's allocator does with memory that was freed. Other allocators stay as they are."""

from __future__ import annotations

import ctypes
import platform
from functools import cache

__all__ = ["keep_memory", "return_memory"]

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Of its malloc.h: how much may lie free before some is given back (-1: never); how many mappings may stand alone."""


def keep_memory() -> None:
    """From now on, use freed memory again in place of giving that of large tensors back to the system at once.

    Each page of it would be cleared and mapped anew, in every step of a training and with every image that is scored.
    The process stays as large as it once was.
    """
    if allocator := _glibc():
        allocator.mallopt(M_MMAP_MAX, 0)
        allocator.mallopt(M_TRIM_THRESHOLD, -1)


def return_memory() -> None:
    """Give back now what lies free: this process takes no more steps, while others will."""
    if allocator := _glibc():
        allocator.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
