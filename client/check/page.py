"""`check.html`: one page that needs no other file, for the eyes of the site alone."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from client.check.outcome import SITE_ONLY, Outcome
from ra_core.data import load_image
from ra_core.data.checks import Finding, Level, Mention
from ra_core.pages import page_environment
from ra_core.storage import write_atomically

__all__ = ["write_page"]

MOST_SHOWN = 24
"""Pictures or files of a finding that the page shows; all are in check.json."""


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

    def png(file: str, frame: int) -> str:
        image = load_image(root / file, outcome.preprocessing, frame, outcome.site.limits)
        return _png(image.pixels[0])

    text = (
        page_environment("client.check")
        .get_template("check.html.j2")
        .render(
            outcome=outcome,
            site_only=SITE_ONLY,
            findings=[(finding, _shown(finding, png)) for finding in outcome.findings],
            levels=[(str(level), sum(f.level is level for f in outcome.findings)) for level in Level],
        )
    )
    # a name that is no UTF-8 is shown with escapes
    write_atomically(path, text.encode("utf-8", "backslashreplace"), mode=0o600)


def _shown(finding: Finding, png: Callable[[str, int], str]) -> list[_Shown]:
    return [
        _Shown(
            mention,
            "" if mention.frame is None else png(mention.path, mention.frame),
            "" if mention.like is None else png(*mention.like),
        )
        for mention in finding.files[:MOST_SHOWN]
    ]


def _png(pixels: np.ndarray) -> str:
    """A picture (S, S) in [0, 1]."""
    content = io.BytesIO()
    PIL.Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()
