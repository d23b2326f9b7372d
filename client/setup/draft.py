"""The draft of a site config, written from what a folder tells; and the text that explains every key."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from client.setup.guess import Guess, guess
from ra_core.config import SiteConfig
from ra_core.errors import ConfigError
from ra_core.files import write_atomically
from ra_core.settings import commented_yaml

__all__ = ["explained", "write_draft"]

_NOTE = """\
# Settings of one hospital, guessed by `ra-client init` from its folder. They may name its folders: keep them here.
# `ra-client config` explains the keys that are not here. To check:
"""


def write_draft(folder: Path, out: Path, force: bool) -> list[str]:
    """Write it; returns what may be told of the folder: counts and advice, without any name from it.

    Raises:
        ConfigError: the file is there already, and is not to be written over.
        DataError: the folder can't be listed.
    """
    if out.exists() and not force:
        raise ConfigError(f"{out}: is there already", "give another --out, or --force to write over it")
    found = guess(folder)
    write_atomically(out, _text(found, folder, out).encode(errors="surrogateescape"), mode=0o600)
    wrote = f"wrote {out}: set name and data.site, look over the rest, then run `ra-client check {out}`"
    return [*_told(found), wrote]


def explained() -> str:
    """A commented site config with the defaults."""
    example = {"name": "My hospital", "anatomy": "chest", "modality": "CR", "data": {"site": "my_site"}}
    return commented_yaml(SiteConfig, example)


def _text(found: Guess, folder: Path, out: Path) -> str:
    data = found.data | {"root": _from(out, folder)}
    settings = {"name": "My hospital", "anatomy": found.anatomy, "modality": found.modality, "data": data}
    doubts = "".join(f"#   - {doubt}\n" for doubt in ("name and data.site", *found.doubts))
    return f"{_NOTE}{doubts}\n{commented_yaml(SiteConfig, settings)}"


def _from(out: Path, folder: Path) -> str:
    """The folder as the config names it: from there where it lies under it, else absolute."""
    here, there = Path(os.path.abspath(out)).parent, Path(os.path.abspath(folder))
    return str(there.relative_to(here)) if there.is_relative_to(here) else str(there)


def _told(found: Guess) -> list[str]:
    aside = found.files.copy()
    files, opened = aside.total(), aside.pop("", 0)
    lines = [f"{files} files, of them {opened} to be read{_counts(aside)}"]
    if found.found:
        lines.append(f"looked into {found.found.total()}{_counts(found.found)}")
    how = "folder rules" if "folder" in found.data else "its manifest"
    return [*lines, f"who is in which split is told by {how}", *(f"check: {doubt}" for doubt in found.doubts)]


def _counts(counts: Counter[str]) -> str:
    parts = [f"{count} {name}" for name, count in sorted(counts.items())]
    return f": {', '.join(parts)}" if parts else ""
