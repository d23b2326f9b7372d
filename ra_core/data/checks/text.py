"""Pictures that look as if text were burned in: it may be a name, and it may tell the label."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ra_core.data.checks.finding import Code, Finding, Level
from ra_core.data.checks.pictures import Pictures

__all__ = ["check_text"]


def check_text(pictures: Pictures) -> Iterator[Finding]:
    """Pictures with any share of text, most first."""
    shown = [int(index) for index in np.argsort(-pictures.texts, kind="stable") if pictures.texts[index] > 0]
    if shown:
        yield Finding(
            Level.WARNING,
            Code.TEXT,
            f"{len(shown)} of {len(pictures)} images look as if text or a scale were burned in near a border",
            "look at them; take out or blank those that show a name, a date or a number of a patient",
            tuple(pictures.mention(i, f"{100 * pictures.texts[i]:.2f} % of the picture") for i in shown),
        )
