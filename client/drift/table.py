"""What was compared, as a table with small pictures of both distributions."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from ra_core.calibration.watching import Compared, Tallies
from ra_core.thresholds import Histogram, Unit
from ra_core.words import rounded_up

__all__ = ["as_table"]

BARS = " ▁▂▃▄▅▆▇█"
BINS = 12
WIDTH = 132

SHORT: dict[Unit, str] = {"slice": "picture", "study": "volume"}


def as_table(compared: Sequence[Compared], reference: Tallies, later: Tallies) -> str:
    """Lines for a terminal, a number each.

    Args:
        compared: at least one.
        reference: of the calibration.
        later: of the month.
    """
    table = Table(title_justify="left")
    for column in ("check", "of", "number", "calibration", "month", "n", "KS", "cells", "PSI", "chance", ""):
        table.add_column(column, no_wrap=True)
    for one in compared:
        before, after = (found.of(one.unit)[one.name] for found in (reference, later))
        d = one.drift
        told = "moved" if one.moved else ""
        counts = f"{d.n_reference} / {d.n}"
        cells = f"+{rounded_up(d.ks_bound, 2)}" if d.ks_bound else ""
        numbers = (f"{d.ks:.2f}", cells, f"{d.psi:.2f}", f"{one.p:.2g}")
        table.add_row(one.check, SHORT[one.unit], one.name, *_bars(before, after), counts, *numbers, told)
    console = Console(file=io.StringIO(), width=WIDTH, highlight=False, markup=False, emoji=False)
    with console.capture() as caught:
        console.print(table)
    return caught.get().rstrip()


def _bars(before: Histogram, after: Histogram) -> tuple[str, str]:
    """Both on the same cells, from the lowest to the highest that either has."""
    middles = [np.repeat((first + last) / 2, counts) for first, last, counts in (before.columns(), after.columns())]
    low, high = (float(pick(np.concatenate(middles))) for pick in (np.min, np.max))
    edges = np.linspace(low - 0.5, high + 0.5, BINS + 1)
    shares = [np.histogram(found, edges)[0] / len(found) for found in middles]
    top = max(float(share.max()) for share in shares)
    first, second = ("".join(BARS[int(np.ceil(value / top * (len(BARS) - 1)))] for value in share) for share in shares)
    return first, second
