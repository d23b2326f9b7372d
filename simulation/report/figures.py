"""Inline SVG whose colours are the page's own (light, dark, print); the same numbers give the same bytes."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from matplotlib.transforms import ScaledTranslation

from simulation.report.cells import Cell

__all__ = ["Curve", "Series", "curves", "dots"]

COLOURS = {
    "#010101": "currentColor",
    "#010102": "var(--muted)",
    "#010103": "var(--rule)",
    "#010104": "var(--accent)",
    "#010105": "var(--second)",
    "#010106": "var(--third)",
}
"""Colours that nothing else has, and what CSS puts in their place."""

INK, MUTED, RULE, ACCENT, SECOND, THIRD = COLOURS

STYLE: Any = {  # matplotlib's type of it changes from version to version
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched and scales with the page's font
    "text.parse_math": False,  # names of sites may hold a dollar sign
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 9,
    "axes.edgecolor": RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "grid.color": RULE,
    "ytick.left": False,
    "savefig.transparent": True,
}
WIDTH = 3.8
"""Inches of a panel: what a phone shows at about full size."""

LONGEST = 32
"""Characters of a label that fit a panel; what is cut off stands in the table."""

MARKS = {"ours": ("o", ACCENT, ACCENT), "others": ("o", INK, "none"), "second": ("D", SECOND, "none")}
"""Marker, colour and filling: nothing is told by colour alone."""

DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)))


@dataclass(frozen=True)
class Series:
    """Numbers of one kind.

    Attributes:
        mark: a key of `MARKS`.
        cells: one a line of the panel; None where there is none.
        shift: of the marks from the middle of the line, in lines.
    """

    mark: str
    cells: Sequence[Cell | None]
    shift: float = 0.0


@dataclass(frozen=True)
class Curve:
    """A line (x, y) of a training."""

    name: str
    points: Sequence[tuple[float, float]]


def dots(
    title: str,
    labels: Sequence[str],
    series: Sequence[Series],
    limits: tuple[float, float],
    reference: float | None = None,
    band: tuple[float, float] | None = None,
    line: float = 0.235,
) -> Markup:
    """A panel of dots with their intervals, a line for each label, from top to bottom.

    Args:
        title: what is shown where, for those who can't see it.
        labels: at the left.
        series: what is drawn.
        limits: ends of the axis.
        reference: where a dotted line stands, for example at chance.
        band: what is shaded, for example where a difference counts as none.
        line: inches of a line.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, line * len(labels) + 0.42), layout="constrained")
        axes = figure.subplots()
        axes.set(xlim=limits, ylim=(len(labels) - 0.5, -0.5))
        axes.set_yticks(range(len(labels)), [_short(label) for label in labels])
        axes.grid(axis="x", linewidth=0.6)
        if band is not None:
            axes.axvspan(*band, color=RULE, alpha=0.5, linewidth=0)
        if reference is not None:
            axes.axvline(reference, color=MUTED, linewidth=1, linestyle=DASHES[2])
        for one in series:
            _draw_series(axes, one)
        return _svg(figure, title)


def _draw_series(axes: Axes, series: Series) -> None:
    marker, colour, filling = MARKS[series.mark]
    for line, cell in enumerate(series.cells):
        y = line + series.shift
        if cell is None:
            continue
        if cell.value is None:
            where = axes.get_yaxis_transform()
            axes.text(1, y, cell.lack, color=MUTED, va="center", ha="right", fontsize=7.5, transform=where)
            continue
        if cell.ends:
            axes.plot(cell.ends, (y, y), color=colour, linewidth=1.4, solid_capstyle="butt")
        axes.plot(cell.value, y, marker, markersize=5, color=colour, markerfacecolor=filling)


def curves(
    title: str, lines: Sequence[Curve], marks: Mapping[str, float], x_label: str, *, shares: bool = False
) -> Markup:
    """Lines on a logarithmic scale where all numbers are above 0; what isn't finite is left out.

    Args:
        title: what is shown, for those who can't see it.
        lines: at least one; up to nine look different.
        marks: places on the x axis marked by name.
        x_label: of the x axis.
        shares: whether the lines go over few whole numbers and show shares, on a plain scale.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.5), layout="constrained")
        axes = figure.subplots()
        points = [[point for point in line.points if all(map(math.isfinite, point))] for line in lines]
        drawn = [_draw_curve(axes, found, place) for place, found in enumerate(points)]
        if shares:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        elif all(y > 0 for found in points for _, y in found):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_locator(NullLocator())
        for name, x in marks.items():
            axes.axvline(x, color=MUTED, linewidth=0.8)
            nudge = axes.get_xaxis_transform() + ScaledTranslation(2 / 72, -2 / 72, figure.dpi_scale_trans)
            axes.text(x, 1, name, rotation=90, va="top", fontsize=8, color=MUTED, transform=nudge)
        axes.grid(axis="y", linewidth=0.6)
        axes.set_xlabel(x_label)
        names = [f" {_short(line.name)}" for line in lines]  # matplotlib leaves out names that begin with "_"
        figure.legend(drawn, names, loc="outside upper left", ncols=3, frameon=False, fontsize=8, labelcolor=INK)
        return _svg(figure, title)


def _draw_curve(axes: Axes, points: Sequence[tuple[float, float]], place: int) -> Line2D:
    (drawn,) = axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        color=(ACCENT, SECOND, THIRD)[place % 3],
        linestyle=DASHES[(place + place // 3) % 3],
        marker="o" if len(points) < 30 else "",
        markersize=2.5,
        linewidth=1.3,
    )
    return drawn


def _short(label: str) -> str:
    return label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"


def _svg(figure: Figure, title: str) -> Markup:
    """The figure as an `<svg>` element with a name for those who can't see it."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": title}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # ids that nothing refers to, the same in every figure
    for colour, name in COLOURS.items():
        text = text.replace(colour, name)
    head = Markup('<svg role="img" aria-label="{}"').format(title)
    return head + Markup(text.removeprefix("<svg"))  # noqa: S704 - matplotlib escapes what it writes
