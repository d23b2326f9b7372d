"""The picture on a site's card: its healthy scores with all thresholds, and how often those were exceeded."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from client.calibrate.outcome import WHAT, Outcome, ThresholdRow
from ra_core.thresholds import Unit
from ra_core.thresholds.record import Way

__all__ = ["draw"]

INK, MUTED, BARS = "#1c2127", "#5b6570", "#c9d3dd"

LOOKS: dict[Way, tuple[str, str, str]] = {
    "local": ("#0a5a9c", "-", "o"),
    "pooled": ("#8a2b06", ":", "s"),
    "shrunken": ("#1a7f37", "--", "D"),
}
"""Colour, line and mark of each way: nothing is told by colour alone."""

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": INK,
}


def draw(outcome: Outcome) -> bytes:
    """The bytes of a PNG: a line for each unit, scores at the left, achieved rates at the right."""
    units = outcome.units
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.5, 2.7 * len(units)), layout="constrained", dpi=130)
        axes = figure.subplots(len(units), 2, squeeze=False)
        for unit, (left, right) in zip(units, axes, strict=True):
            rows = [row for row in outcome.rows if row.unit == unit]
            _scores(left, outcome, unit, rows)
            _rates(right, rows)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _scores(axes: Axes, outcome: Outcome, unit: Unit, rows: list[ThresholdRow]) -> None:
    scores = outcome.scores[unit]
    axes.hist(scores, bins=max(5, min(30, len(scores) // 2)), color=BARS, edgecolor=MUTED, linewidth=0.3)
    for row in rows:
        if row.threshold.value is not None:
            colour, line, _ = LOOKS[row.threshold.way]
            axes.axvline(row.threshold.value, color=colour, linestyle=line, label=f"{row.threshold.way} {row.value}")
    axes.set_title(f"{WHAT[unit]}: {len(scores)} healthy patients", loc="left", fontsize=9)
    axes.set(xlabel="score", ylabel="patients")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)


def _rates(axes: Axes, rows: list[ThresholdRow]) -> None:
    names = [row.threshold.way + (" (decides)" if row.in_force else "") for row in rows]
    asked = rows[0].threshold.rate
    ends = [asked]
    for line, row in enumerate(rows):
        achieved = row.threshold.achieved
        if achieved is None:
            axes.text(asked, line, "  not tried", va="center", color=MUTED, fontsize=8)
            continue
        colour, _, mark = LOOKS[row.threshold.way]
        axes.plot((achieved.low, achieved.high), (line, line), color=colour, linewidth=1.6)
        axes.plot(achieved.above / achieved.n, line, mark, color=colour, clip_on=False)
        ends.append(achieved.high)
    axes.axvline(asked, color=INK, linewidth=1, linestyle="-.")
    axes.set_title("false alarms among the other half, 95 % interval; line: asked", loc="left", fontsize=9)
    axes.set_yticks(np.arange(len(rows)), names)
    axes.set(xlim=(0, min(1, 1.1 * max(ends))), ylim=(len(rows) - 0.5, -0.5))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
