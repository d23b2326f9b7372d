"""Masks told by their names: `scan_mask.png` belongs to the `scan.jpg` beside it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

__all__ = ["mask_end", "masks_beside"]

_END = re.compile(r"[-_](?:mask|seg)(?=\.[^/]*$)", re.IGNORECASE)


def mask_end(path: str) -> str:
    """What makes a file's name that of a mask, such as `_mask`; empty where nothing does."""
    found = _END.search(path)
    return found[0] if found else ""


def masks_beside(paths: Iterable[str]) -> dict[str, list[str]]:
    """Files that are called after others in their folder, as masks are, each with these others."""
    every = list(paths)
    stems = defaultdict(list)
    for path in every:
        stems[_stem(path)].append(path)
    ends = {path: found for path in every if (found := _END.search(path))}
    return {path: others for path, end in ends.items() if (others := stems.get(path[: end.start()]))}


def _stem(path: str) -> str:
    """The path without the end that tells the format, as `.png` or `.nii.gz`."""
    return re.sub(r"(?<=[^/])(?:\.[^./]+)?(?:\.gz)?\Z", "", path)
