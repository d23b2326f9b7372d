"""From files and folders to what gets a score each: files by themselves, and DICOM slices put together to volumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ra_core.data.readers import Reading, kind_of, open_source
from ra_core.data.readers.refusal import Reason
from ra_core.data.readers.source import Facts
from ra_core.data.scan.records import Entry
from ra_core.data.scan.stacks import stacks
from ra_core.data.scan.walk import walk
from ra_core.errors import DataError
from ra_core.studies import Study, file_study, series_study

__all__ = ["Item", "find"]


@dataclass(frozen=True)
class Item:
    """What gets one score, not yet opened.

    Attributes:
        files: one, or the slices of a series in the order of their positions.
        named: whether it was asked for by its own name, and not met in a folder.
        reason: why it is left aside unopened; None where it is to be scored.
    """

    files: tuple[Path, ...] = field(repr=False)
    named: bool = False
    reason: Reason | None = None

    def open(self, reading: Reading) -> Study:
        """Open it.

        Raises:
            DataError: it can't be read or is no image; its `code` says why.
        """
        if self.reason is not None:
            raise DataError(f"{self.files[0]}: left aside", "", self.reason)
        if len(self.files) > 1:
            return series_study(self.files, reading)
        return file_study(self.files[0], reading)


def find(
    paths: Sequence[Path],
    reading: Reading,
    leave_out: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Item]:
    """Everything under the paths, each file once, in the order of the paths and sorted within a folder.

    Only headers are read, and only of DICOM files.

    Args:
        paths: files and folders.
        reading: how files are read.
        leave_out: a folder whose files don't count, if it lies in one of the others.
        progress: told after each file how many of how many are done.

    Raises:
        DataError: a path is no file and no folder.
    """
    items = {item.files[0]: item for item in _files(paths, leave_out)}
    slices: dict[Path, Facts] = {}
    for done, item in enumerate(items.values(), start=1):
        facts = _slice_facts(item, reading)
        if facts:
            slices[item.files[0]] = facts
        if progress:
            progress(done, len(items))
    return _put_together(items, slices)


def _files(paths: Sequence[Path], leave_out: Path | None) -> Iterator[Item]:
    """One item a file. Paths are absolute."""
    avoided = leave_out.resolve() if leave_out else None
    for number, given in enumerate(paths, start=1):
        path = given.absolute()
        if not path.exists():
            raise DataError(f"path {number} of {len(paths)}: no such file or folder", "check it", Reason.MISSING)
        if not path.is_dir():
            yield Item((path,), named=True)
            continue
        root = path.resolve()
        for found in walk(root):
            file = root / found.path
            if avoided is None or not file.is_relative_to(avoided):
                yield Item((file,), reason=found.reason)


def _slice_facts(item: Item, reading: Reading) -> Facts | None:
    """Of a DICOM file with one picture whose place in a series is known; whoever can't be read is refused later."""
    if item.reason is not None:
        return None
    try:
        if kind_of(item.files[0]) != "dicom":
            return None
        facts = open_source(item.files[0], reading).facts
    except DataError:
        return None
    return facts if facts.frames == 1 and facts.series and facts.positions else None


def _put_together(items: dict[Path, Item], slices: dict[Path, Facts]) -> list[Item]:
    """A series takes the place of its first file; copies of its slices are left aside."""
    firsts: dict[str, Path] = {}
    for path, facts in slices.items():
        firsts.setdefault(facts.instance or str(path), path)
    originals = set(firsts.values())
    copies = slices.keys() - originals
    entries = [Entry(str(path), None, facts=facts) for path, facts in slices.items() if path in originals]
    for series in stacks(entries):
        files = tuple(Path(path) for path in series.paths)
        members = set(files)
        members |= {path for path in copies if firsts[slices[path].instance] in members}
        places = [path for path in items if path in members]
        named = any(items[path].named for path in places)
        for path in places:
            items[path] = Item((path,), reason=Reason.DUPLICATE) if path in copies else Item((), named)
        items[next(path for path in places if path not in copies)] = Item(files, named)
    return [item for item in items.values() if item.files]
