"""The scan of a folder: every file looked at, copies dropped, stacks put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ra_core.config import PreprocessingConfig
from ra_core.data.manifest import Row
from ra_core.data.readers.refusal import Reason
from ra_core.data.scan.duplicates import Claim, without_duplicates
from ra_core.data.scan.folder import claims_of, is_ignored, is_listed
from ra_core.data.scan.look import look
from ra_core.data.scan.looks import Looks
from ra_core.data.scan.losses import Meant, with_losses
from ra_core.data.scan.records import Entry, Scan
from ra_core.data.scan.rules import ScanRules
from ra_core.data.scan.stacks import in_stacks, stacks
from ra_core.data.scan.walk import Found, named, walk

__all__ = ["scan"]

_WHY = {
    Reason.SYSTEM_FILE: "hidden, or of an operating system",
    Reason.NOT_AN_IMAGE: "its name says that it is still being copied",
    Reason.DUPLICATE: "a link to what is here anyway",
    Reason.MISSING: "a link to nothing; take it away, or bring its file back",
    Reason.OUTSIDE_ROOT: "it leads out of the data root; copy the file into it",
    Reason.NO_ACCESS: "can't be opened; check its rights",
    Reason.NOT_A_FILE: "a pipe, a socket or a device",
}


def scan(
    root: Path,
    rules: ScanRules,
    preprocessing: PreprocessingConfig,
    progress: Callable[[int, int], None] | None = None,
    rows: Sequence[Row] | None = None,
    cache: Path | None = None,
) -> Scan:
    """Look at every file under a folder. No file ends it: what can't be used is an entry that says why.

    Args:
        root: the data root.
        rules: what the site asks.
        preprocessing: of the study.
        progress: told after each file how many of how many are done.
        rows: look at the files of these rows only, in place of all that the rules name; paths as `Path.as_posix` has
            them.
        cache: folder for what was seen, so that an unchanged file is decoded once; None keeps nothing.

    Raises:
        DataError: the root is no folder that can be listed, or the cache can't be written.
        ManifestError: the folder rules put a file into two splits.
    """
    found = list(walk(root, rules.limits.hidden) if rows is None else named(root, (row.path for row in rows)))
    looks = Looks(cache, root, preprocessing, rules.limits)
    entries = []
    try:
        for done, file in enumerate(found, start=1):
            entries.append(_entry(root, file, rules, preprocessing, looks))
            if progress:
                progress(done, len(found))
    finally:
        looks.keep()
    single = without_duplicates(entries, _claims(entries, rules, rows))
    whole = with_losses(in_stacks(single, preprocessing), _meant(rules, rows))
    return Scan(root, whole, stacks(whole))


def _claims(entries: Sequence[Entry], rules: ScanRules, rows: Sequence[Row] | None) -> dict[str, Claim]:
    if rows is not None:
        return {row.path: Claim(row.label, row.split) for row in rows}
    return claims_of(entries, rules.folder) if rules.folder else {}


def _meant(rules: ScanRules, rows: Sequence[Row] | None) -> Meant:
    if rows is not None:
        return Meant.BY_MANIFEST
    return Meant.BY_RULES if rules.folder else Meant.BY_NOTHING


def _entry(root: Path, file: Found, rules: ScanRules, preprocessing: PreprocessingConfig, looks: Looks) -> Entry:
    if file.reason is not None:
        return Entry(file.path, file.reason, _WHY[file.reason])
    if rules.folder and is_ignored(file.path, rules.folder):
        return Entry(file.path, Reason.IGNORED, "a rule of the site config leaves it aside")
    if rules.folder and not is_listed(file.path, rules.folder):
        return Entry(file.path, Reason.NOT_LISTED, "no rule of the site config names it")
    return look(root, file.path, rules, preprocessing, looks)
