"""From files and folders to what gets a score each: files by themselves, and DICOM slices put together to volumes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ra_core.config import DataConfig
from ra_core.data.readers import Reading, kind_of, open_source
from ra_core.data.readers.refusal import Reason
from ra_core.data.readers.source import Facts
from ra_core.data.scan.duplicates import without_duplicates
from ra_core.data.scan.folder import is_ignored
from ra_core.data.scan.look import look
from ra_core.data.scan.looks import Looks
from ra_core.data.scan.masks import masks_beside
from ra_core.data.scan.records import Entry
from ra_core.data.scan.stacks import stacks
from ra_core.data.scan.walk import walk
from ra_core.errors import DataError
from ra_core.studies import Study, Terms, file_study, series_study

__all__ = ["Item", "find"]


@dataclass(frozen=True)
class Item:
    """What gets one score, not yet opened.

    Attributes:
        files: one, or the slices of a series in the order of their positions.
        named: whether it was asked for by its own name, and not only met in a folder; False where it is left aside.
        reason: why it is left aside unopened; None where it is to be scored.
    """

    files: tuple[Path, ...] = field(repr=False)
    named: bool = False
    reason: Reason | None = None

    def open(self, terms: Terms) -> Study:
        """Open it.

        Raises:
            DataError: it can't be read, is no image or is not what is asked for; its `code` says why.
        """
        if self.reason is not None:
            raise DataError(f"{self.files[0]}: left aside", "", self.reason)
        if len(self.files) > 1:
            return series_study(self.files, terms)
        return file_study(self.files[0], terms)


def find(
    paths: Sequence[Path],
    terms: Terms,
    leave_out: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    data: DataConfig | None = None,
) -> list[Item]:
    """Everything under the paths, each file once, in the order of the paths and sorted within a folder.

    Left aside is what is called the mask of another file beside it that is to be scored, and what the site ignores.

    Only headers are read, and only of DICOM files; but slices that may be copies of each other are decoded.

    Args:
        paths: files and folders.
        terms: what is asked of studies.
        leave_out: a folder whose files don't count, if it lies in one of the others.
        progress: told after each file how many of how many are done.
        data: of the site, whose folder rules say what it ignores. They go by the path below its data root; elsewhere,
            by that below the folder that is given, or by the name of the file that is.

    Raises:
        DataError: a path is no file and no folder.
    """
    items = _once(_without_ignored(_files(paths, terms.rules.limits.hidden, leave_out), data))
    for path in _masks(items):
        items[path] = Item((path,), reason=Reason.MASK_OF_ANOTHER_FILE)
    slices: dict[Path, Facts] = {}
    for done, item in enumerate(items.values(), start=1):
        facts = _slice_facts(item, terms.reading)
        if facts:
            slices[item.files[0]] = facts
        if progress:
            progress(done, len(items))
    return _put_together(items, slices, _copies(slices, terms))


def _files(paths: Sequence[Path], hidden: bool, leave_out: Path | None) -> Iterator[tuple[Path, Item]]:
    """One item a file, with the folder that it was looked for in. Paths are absolute, and lead through no link."""
    avoided = leave_out.resolve() if leave_out else None
    for number, given in enumerate(paths, start=1):
        path = given.absolute()
        if not path.exists():
            raise DataError(f"path {number} of {len(paths)}: no such file or folder", "check it")
        if not path.is_dir():
            folder = path.parent.resolve()  # the file itself may be a link: its name is what was asked for
            yield folder, Item((folder / path.name,), named=True)
            continue
        root = path.resolve()
        for found in walk(root, hidden):
            file = root / found.path
            if avoided is None or not file.is_relative_to(avoided):
                yield root, Item((file,), reason=found.reason)


def _without_ignored(files: Iterable[tuple[Path, Item]], data: DataConfig | None) -> Iterator[Item]:
    """The same, those left aside that the site's folder rules ignore."""
    rules = data.folder if data else None
    data_root = data.root.resolve() if data and data.root else None
    for folder, item in files:
        (file,) = item.files
        root = data_root if data_root and file.is_relative_to(data_root) else folder
        ignored = rules and item.reason is None and is_ignored(file.relative_to(root).as_posix(), rules)
        yield Item((file,), reason=Reason.IGNORED) if ignored else item


def _once(found: Iterable[Item]) -> dict[Path, Item]:
    """Each file once, where it is met first; asked for by name before all else, and left aside only if it always is."""
    items: dict[Path, Item] = {}
    for item in found:
        known = items.get(item.files[0])
        if known is None or item.named or (known.reason is not None and item.reason is None):
            items[item.files[0]] = item
    return items


def _masks(items: Mapping[Path, Item]) -> list[Path]:
    """Files that are called after another one of them in the same folder, as its mask, if that is an image."""
    beside = masks_beside(str(path) for path, item in items.items() if item.reason is None)
    return [Path(mask) for mask, others in beside.items() if any(_is_read(Path(other)) for other in others)]


def _is_read(path: Path) -> bool:
    try:
        kind_of(path)
    except DataError:
        return False
    return True


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


def _copies(slices: Mapping[Path, Facts], terms: Terms) -> set[Path]:
    """Slices that are in a file before them, by the rule of the scan.

    Those that share neither place nor SOPInstanceUID with another are no copies, and are not decoded.
    """
    sharers: dict[tuple[object, ...], list[Path]] = defaultdict(list)
    for path, facts in slices.items():
        sharers[facts.patient, facts.study, facts.series, facts.origins].append(path)
        sharers[facts.patient, facts.instance or path].append(path)
    doubtful = {path for sharing in sharers.values() if len(sharing) > 1 for path in sharing}
    looks = Looks(None, Path("/"), terms.preprocessing, terms.rules.limits)
    seen = [look(Path("/"), str(path), terms.rules, terms.preprocessing, looks) for path in slices if path in doubtful]
    return {Path(entry.path) for entry in without_duplicates(seen) if entry.reason == Reason.DUPLICATE}


def _put_together(items: dict[Path, Item], slices: Mapping[Path, Facts], copies: set[Path]) -> list[Item]:
    """A series takes the place of its first file; copies of its slices are left aside."""
    places = {path: place for place, path in enumerate(items)}
    for path in copies:
        items[path] = Item((path,), reason=Reason.DUPLICATE)
    entries = [Entry(str(path), None, facts=facts) for path, facts in slices.items() if path not in copies]
    for series in stacks(entries):
        files = tuple(Path(path) for path in series.paths)
        named = any(items[path].named for path in files)
        for path in files:
            items[path] = Item(())
        items[min(files, key=places.__getitem__)] = Item(files, named)
    return [item for item in items.values() if item.files]
