"""How often healthy patients of each site raise an alarm, at thresholds of three kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from ra_core.thresholds.record import WAYS, Way
from simulation.grid.alarms import SHARED, Alarms
from simulation.grid.averages import over_seeds
from simulation.grid.page.chapter import Chapter, all_sites
from simulation.grid.page.data import StudyData
from simulation.grid.page.numbers import cell
from simulation.grid.result import SHOWN_BESIDE
from simulation.report.cells import Cell
from simulation.report.figures import Series, dots
from simulation.report.sections import Panel, Section, reach
from simulation.report.tables import Table, Wanted, table

__all__ = ["false_alarms"]

DRAWN: tuple[tuple[Way, str, float], ...] = (
    ("shrunken", "ours", 0.27),
    ("pooled", "second", -0.27),
    ("local", "others", 0.0),
)
"""Mark and place of each way in the figures, in the order of their legend."""

LINE = 0.36
"""Inches of a figure's line, which holds three marks."""


def false_alarms(data: StudyData) -> Chapter:
    """At each site, beside the rate asked."""
    cells = [result.key for result in data.results if result.arm in SHARED]
    lacking = [key for key in cells if key not in data.alarms]
    sections = [made for arm in SHARED if (made := _section(data, arm))]
    without = (
        f" {len(lacking)} of {len(cells)} cells keep no such scores, as they were computed before cells did: they are "
        "not in here."
        if lacking
        else ""
    )
    text = (
        f"Asked is a rate of {_asked(data):.3g} of healthy patients with an alarm (dotted line). Thresholds are set on "
        "healthy calibration patients, or validation patients at a site without that split, one score each, the "
        "highest of a patient's images: local is a site's own conformal threshold, pooled the same of all trained "
        "sites' patients together, shrunken one between a site's own and what all sites' patients say. The achieved "
        "rate is of healthy test patients, whom the heads of the columns count, with the 95 % interval of Clopper and "
        "Pearson (1934); sites without healthy images of their own are not in here. Nothing is promised strictly where "
        "validation patients set thresholds, since they chose epoch and scoring too. A shrunken threshold has no "
        "guarantee with any number of patients: that is why its rate is measured. Scored alike: by the plain residual "
        f"(its distance, for a method that reconstructs nothing), and as the paper scores RA.{without}"
    )
    none = f"Needs finished cells of fedavg or pooled that keep scores of healthy patients.{without}"
    return Chapter("alarms", "Which rate of false alarms does each site get?", text, sections, none)


def _section(data: StudyData, arm: str) -> Section | None:
    found = {name: [r.key for r in data.answers.of(name, arm) if r.key in data.alarms] for name in data.methods}
    tables = [made for scoring in SHOWN_BESIDE if (made := _table(data, arm, found, scoring))]
    panels = [panel for scoring in SHOWN_BESIDE if (panel := _panel(data, arm, found.get(data.subject, []), scoring))]
    return Section(f"Trained {arm}", "", tables, panels, [way for way, *_ in DRAWN]) if tables else None


def _table(data: StudyData, arm: str, found: Mapping[str, Sequence[str]], scoring: str) -> Table | None:
    rows = [
        Wanted(f"{data.label(name)}: {way}", data.kind(name), partial(_at, data, keys, scoring, way))
        for name, keys in found.items()
        for way in WAYS
    ]
    places = all_sites(data)
    return table(f"{arm}, {scoring}: achieved rate of false alarms, {_asked(data):.3g} asked", places, rows)


def _at(data: StudyData, keys: Sequence[str], scoring: str, way: Way, site: str) -> Cell | None:
    """Averaged over seeds; where there is no threshold, the reason stands in the number's place."""
    found = [data.alarms[key].get(Alarms(site, scoring, way)) for key in keys]
    known = [one for one in found if one is not None]
    made = cell(over_seeds(known, data.config.study.evaluation.confidence)) if known else None
    return replace(made, lack=made.note, note="") if made and made.value is None else made


def _panel(data: StudyData, arm: str, keys: Sequence[str], scoring: str) -> Panel | None:
    names = [*data.trained, *data.answers.held_out]
    found = {way: {name: _at(data, keys, scoring, way, name) for name in names} for way in WAYS}
    there = [name for name in names if any(found[way][name] for way in WAYS)]
    if not there:
        return None
    series = [Series(mark, [found[way][name] for name in there], shift) for way, mark, shift in DRAWN]
    end = max([2 * _asked(data), *reach(one for series_of in series for one in series_of.cells)])
    title = f"{data.subject}, {arm}, {scoring}: achieved rate of false alarms"
    drawn = dots(title, there, series, (-0.03 * end, min(1.03, 1.05 * end)), _asked(data), line=LINE)
    return Panel(f"{data.subject}, {scoring}", "", drawn)


def _asked(data: StudyData) -> float:
    return data.config.study.evaluation.image_fpr
