"""All files under a folder, sorted, with those that are never opened marked."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ra_core.data.readers.refusal import Reason
from ra_core.errors import DataError

__all__ = ["Found", "named", "walk"]

_SYSTEM = frozenset(
    {
        *(".ds_store", ".localized", "thumbs.db", "ehthumbs.db", "desktop.ini"),
        *("__macosx", "$recycle.bin", "system volume information", "lost+found", "@eadir"),
    }
)

_UNFINISHED = (".part", ".partial", ".filepart", ".crdownload", ".download", ".tmp")
"""Ends of names that programs give to files that they are still copying."""


@dataclass(frozen=True)
class Found:
    """One file of a folder.

    Attributes:
        path: relative to the folder, with forward slashes; bytes that are no UTF-8 are escaped as `os.fsdecode` does.
        reason: why it is not to be opened; None where it may be.
    """

    path: str = field(repr=False)
    reason: Reason | None = None


def walk(root: Path, hidden: bool = False) -> Iterator[Found]:
    """Every file under `root`, in the order of the paths, so that it is the same on every machine.

    No link is followed to another folder, so the walk ends. A link to what the walk meets anyway is a duplicate, one
    to nothing is missing, one that leads out of the root is outside; one to a file that the walk would pass by counts
    as that file, once. Pipes, sockets and devices are told, and so are folders that can't be listed.

    Args:
        root: the folder.
        hidden: look at hidden files and into hidden folders as well; files of operating systems stay aside.

    Raises:
        DataError: `root` is no folder that can be listed.
    """
    top = os.path.realpath(root)
    try:
        pending = _listing(top, "")
    except OSError as error:
        raise DataError(
            f"{root}: can't be listed ({type(error).__name__})", "name the folder with the images"
        ) from None
    linked: set[str] = set()
    while pending:
        path = pending.pop()
        if not path.endswith("/"):
            yield Found(path, _why_not(top, path, hidden, linked))
            continue
        try:
            pending += _listing(top, path)
        except OSError:
            yield Found(path.removesuffix("/"), Reason.NO_ACCESS)


def named(root: Path, paths: Iterable[str]) -> Iterator[Found]:
    """The files of a list, each once, in the order of the paths; what leads out of the root is marked.

    Args:
        root: the folder.
        paths: relative to it, as `Found.path`.
    """
    top = os.path.realpath(root)
    for path in sorted(set(paths)):
        inside = Path(os.path.realpath(f"{top}/{path}")).is_relative_to(top)
        yield Found(path, None if inside else Reason.OUTSIDE_ROOT)


def _listing(top: str, folder: str) -> list[str]:
    """Paths in a folder, last one first; those of folders end in a slash, which makes their order that of all paths."""
    with os.scandir(f"{top}/{folder}") as entries:
        names = (folder + entry.name + ("/" if _is_folder(entry) else "") for entry in entries)
        return sorted(names, reverse=True)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _why_not(top: str, path: str, hidden: bool, linked: set[str]) -> Reason | None:
    if _passed_by(path, hidden):
        return Reason.SYSTEM_FILE
    if path.lower().endswith(_UNFINISHED):
        return Reason.NOT_AN_IMAGE
    try:
        mode = os.lstat(f"{top}/{path}").st_mode
        if stat.S_ISLNK(mode):
            return _why_not_linked(top, path, hidden, linked)
    except OSError:
        return Reason.NO_ACCESS
    return None if stat.S_ISREG(mode) else Reason.NOT_A_FILE


def _why_not_linked(top: str, path: str, hidden: bool, linked: set[str]) -> Reason | None:
    target = os.path.realpath(f"{top}/{path}")
    if not Path(target).is_relative_to(top):
        return Reason.OUTSIDE_ROOT
    if not os.path.exists(target):  # also of a link to itself
        return Reason.MISSING
    if os.path.isdir(target):
        return Reason.DUPLICATE
    if target in linked or not _passed_by(os.path.relpath(target, top), hidden):
        return Reason.DUPLICATE
    linked.add(target)  # as tools for large files keep it: the name is a link into a hidden store
    return None if os.path.isfile(target) else Reason.NOT_A_FILE


def _passed_by(path: str, hidden: bool) -> bool:
    """Whether the file, or a folder that it is in, is hidden or of an operating system."""
    names = path.split("/")
    if any(name.lower() in _SYSTEM or name.startswith("._") for name in names):
        return True
    return not hidden and any(name.startswith(".") for name in names)
