"""`check.html`: one page that needs no other file, for the eyes of the site alone."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from client.check.outcome import SITE_ONLY, Outcome
from ra_core.data import Reading, open_source, prepare
from ra_core.data.checks import Finding, Level, Mention
from ra_core.files import write_atomically
from ra_core.pages import page_bytes, page_environment

__all__ = ["write_page"]

MOST_SHOWN = 24
"""Pictures or files of a finding that the page shows; all are in check.json."""


_Place = tuple[str, int]
"""A picture's path and frame."""


@dataclass(frozen=True)
class _Shown:
    """One mention on the page; pictures as base64 of PNG, empty where there is none."""

    mention: Mention
    picture: str
    like: str


def write_page(path: Path, outcome: Outcome, root: Path) -> None:
    """Write the page, atomically, for its owner only.

    Args:
        path: of the page.
        outcome: what is told.
        root: data root; the pictures that findings mention are read again from it.

    Raises:
        DataError: a picture can't be read any more.
        OSError: the disk is full or the folder can't be written.
    """
    pictures = _pictures(outcome, root)
    text = (
        page_environment("client.check")
        .get_template("check.html.j2")
        .render(
            outcome=outcome,
            site_only=SITE_ONLY,
            findings=[(finding, _shown(finding, pictures)) for finding in outcome.findings],
            levels=[(str(level), sum(f.level is level for f in outcome.findings)) for level in Level],
        )
    )
    write_atomically(path, page_bytes(text), mode=0o600)


def _pictures(outcome: Outcome, root: Path) -> dict[_Place, str]:
    """PNGs of all that is shown. Each file is opened once, since a volume is read whole for any of its pictures."""
    frames: dict[str, list[int]] = defaultdict(list)
    for path, frame in dict.fromkeys(_places(outcome.findings)):
        frames[path].append(frame)
    reading = Reading.of(outcome.preprocessing, outcome.site.limits)
    found: dict[_Place, str] = {}
    for path, wanted in frames.items():
        source = open_source(root / path, reading)
        for frame in wanted:
            found[path, frame] = _png(prepare(source.picture(frame), outcome.preprocessing).pixels[0])
    return found


def _places(findings: Iterable[Finding]) -> Iterator[_Place]:
    for mention in (mention for finding in findings for mention in finding.files[:MOST_SHOWN]):
        if mention.frame is not None:
            yield mention.path, mention.frame
        if mention.like is not None:
            yield mention.like


def _shown(finding: Finding, pictures: Mapping[_Place, str]) -> list[_Shown]:
    return [
        _Shown(
            mention,
            "" if mention.frame is None else pictures[mention.path, mention.frame],
            "" if mention.like is None else pictures[mention.like],
        )
        for mention in finding.files[:MOST_SHOWN]
    ]


def _png(pixels: np.ndarray) -> str:
    """A picture (S, S) in [0, 1]."""
    content = io.BytesIO()
    PIL.Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()
