"""The parts of the page that hold numbers: tables, and figures that show the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from simulation.cohort.lesions import STRENGTHS
from simulation.report.cells import Cell
from simulation.report.data import ArmFacts
from simulation.report.figures import Series, dots
from simulation.report.findings import Findings, Line, Place
from simulation.report.metrics import METRICS
from simulation.report.tables import Table, Wanted, table

__all__ = [
    "QUESTIONS",
    "Panel",
    "Section",
    "apart",
    "by_group",
    "by_scoring",
    "in_order",
    "limits",
    "pair",
    "reach",
    "reconstruction",
    "results",
]

SIZES = ("size: small", "size: medium", "size: large")

QUESTIONS = {
    "pixel_auprc": "Where is the lesion?",
    "box_auroc": "Are the boxes marked?",
    "box_f1_scale_free": "Are the boxes marked, at a threshold?",
    "auroc": "Which image is sick?",
    "detection_rate": "With a threshold",
}
"""What the main metrics answer, by metric."""


@dataclass(frozen=True)
class Panel:
    """A small figure and what stands above it."""

    title: str
    tag: str
    svg: Markup


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it."""

    title: str
    text: str
    tables: Sequence[Table] = ()
    panels: Sequence[Panel] = ()
    legend: Sequence[str] = ()


def results(findings: Findings) -> list[Section]:
    """Localisation, boxes where there are any, detection, and detection at a threshold: all methods at all places."""
    aim = float(findings.study["evaluation"]["image_fpr"])
    rates = f"The threshold is the score that at most {aim:.0%} of the healthy validation images exceed (dotted line)."
    made = [
        _result(findings, "", ("pixel_auprc",), None),
        _result(findings, "The dotted line is chance.", ("box_auroc",), 0.5),
        _result(findings, "", ("box_f1_scale_free", "box_f1"), None),
        _result(findings, "The dotted line is chance.", ("auroc",), 0.5),
        _result(findings, rates, ("detection_rate", "false_alarm_rate"), aim),
    ]
    return [section for section in made if section.tables]


def _result(findings: Findings, remark: str, metrics: Sequence[str], reference: float | None) -> Section:
    lines, tables = list(findings.lines()), []
    for metric in metrics:
        rows = [Wanted(line.label, line.kind, partial(_find, line, metric)) for line in lines]
        tables.append(table(METRICS[metric][0], findings.places, rows))
    text = " ".join([*(f"{METRICS[m][0]}: {METRICS[m][1]}." for m in metrics), remark])
    panels = _panels(findings.places, lines, metrics, reference)
    legend = [METRICS[metric][0] for metric in metrics] if len(metrics) > 1 else ()
    return Section(QUESTIONS[metrics[0]], text, [t for t in tables if t], panels, legend)


def _find(line: Line, metric: str, place: str) -> Cell | None:
    return line.find(place, metric, "all")


def _panels(
    places: Sequence[Place], lines: Sequence[Line], metrics: Sequence[str], reference: float | None
) -> list[Panel]:
    """A panel for each place that has any number; all have the same lines and the same axis."""
    cells = {p: {m: [line.find(p.name, m, "all") for line in lines] for m in metrics} for p in places}
    there = [any(cells[p][m][i] for p in places for m in metrics) for i in range(len(lines))]
    lines = [line for line, kept in zip(lines, there, strict=True) if kept]
    ends = limits(metrics[0], [cell for found in cells.values() for row in found.values() for cell in row])
    panels = []
    for place, found in cells.items():
        kept_cells = [[cell for cell, kept in zip(row, there, strict=True) if kept] for row in found.values()]
        if any(cell and cell.value is not None for row in kept_cells for cell in row):
            title = f"{' and '.join(METRICS[m][0] for m in metrics)} {place.at}"
            labels = [line.label for line in lines]
            panels.append(
                Panel(place.name, _tag(place), dots(title, labels, _series(lines, kept_cells), ends, reference))
            )
    return panels


def _series(lines: Sequence[Line], found: Sequence[Sequence[Cell | None]]) -> list[Series]:
    """One metric: our model stands out. Two: they stand apart."""
    if len(found) > 1:
        return pair(*found)
    return apart(found[0], [line.kind == "ours" for line in lines])


def apart(cells: Sequence[Cell | None], ours: Sequence[bool]) -> list[Series]:
    """Two series on the same lines, ours standing out."""
    pairs = [*zip(cells, ours, strict=True)]
    return [
        Series("ours", [cell if own else None for cell, own in pairs]),
        Series("others", [None if own else cell for cell, own in pairs]),
    ]


def pair(first: Sequence[Cell | None], second: Sequence[Cell | None]) -> list[Series]:
    """Two series that stand apart."""
    return [Series("ours", first, -0.16), Series("second", second, 0.16)]


def limits(metric: str, cells: Sequence[Cell | None]) -> tuple[float, float]:
    """0 to 1, but for pixel AUPRC, which may be tiny: up to the highest end of an interval."""
    if metric != "pixel_auprc":
        return (0.0, 1.0)
    return (0.0, min(1.0, 1.05 * max(reach(cells), default=1.0)) or 1.0)


def reach(cells: Iterable[Cell | None]) -> list[float]:
    """All values and ends of intervals."""
    return [end for cell in cells if cell and cell.value is not None for end in (*(cell.ends or ()), cell.value)]


def _tag(place: Place) -> str:
    return "held out" if place.kind == "held out" else ""


def by_group(findings: Findings) -> list[Section]:
    """By lesion kind, strength and size: our model beside the best baseline."""
    groups = in_order(row.anomaly for row in findings.data.rows)
    sections = []
    for metric, title in QUESTIONS.items():
        rows = []
        for group in groups:
            rows.append(Wanted(f"{group} – RA, {findings.ours.name}", "ours", partial(_group, findings, metric, group)))
            rows.append(Wanted(f"{group} – best baseline", "baseline", partial(_rival, findings, metric, group)))
        found = table(f"{METRICS[metric][0]} by group", findings.places, rows)
        if found:
            panels = _group_panels(findings, metric, groups)
            legend = (f"RA, {findings.ours.name}", "best baseline")
            sections.append(Section(title, "", [found], panels, legend))
    return sections


def in_order(anomalies: Iterable[str]) -> list[str]:
    """The groups among what rows have as `anomaly`: kinds by name, then strengths and sizes from least to most."""
    names = {name for name in anomalies if not name.startswith("synthetic: ")} - {"all", "healthy"}
    ranked = [name for name in (*reversed(STRENGTHS), *SIZES) if name in names]
    return sorted(names.difference(ranked)) + ranked


def _group(findings: Findings, metric: str, group: str, place: str) -> Cell | None:
    return findings.ra(findings.ours, place, metric, group)


def _rival(findings: Findings, metric: str, group: str, place: str) -> Cell | None:
    return findings.best_baseline(place, metric, group)


def _group_panels(findings: Findings, metric: str, groups: Sequence[str]) -> list[Panel]:
    """A panel for each place that has groups, with these groups."""
    ours = {p: [_group(findings, metric, group, p.name) for group in groups] for p in findings.places}
    theirs = {p: [_rival(findings, metric, group, p.name) for group in groups] for p in findings.places}
    ends = limits(metric, [cell for p in findings.places for cell in (*ours[p], *theirs[p])])
    panels = []
    for place in findings.places:
        found = [of for of in zip(groups, ours[place], theirs[place], strict=True) if any(of[1:])]
        if any(cell and cell.value is not None for _, *cells in found for cell in cells):
            labels, first, second = zip(*found, strict=True)
            title = f"{METRICS[metric][0]} by group {place.at}"
            panels.append(Panel(place.name, _tag(place), dots(title, labels, pair(first, second), ends)))
    return panels


def by_scoring(findings: Findings) -> list[Table]:
    """All scorings of our model: on synthetic anomalies, by which one is chosen, and on the test images."""
    ours, names = findings.ours, findings.scorings
    made = []
    for caption, find in (
        (
            "Mean AUROC over kinds of synthetic anomaly (decides the choice; a mean, so without an interval)",
            findings.our_synthetic,
        ),
        ("Image AUROC on test images", partial(_scored, findings, "auroc")),
        ("Pixel AUPRC on test images", partial(_scored, findings, "pixel_auprc")),
    ):
        rows = [Wanted(name, "ra", partial(find, name), partial(_is_chosen, ours, name)) for name in names]
        made.append(table(caption, findings.places, rows))
    return [found for found in made if found]


def _scored(findings: Findings, metric: str, scoring: str, place: str) -> Cell | None:
    return findings.ra(findings.ours, place, metric, scoring=scoring)


def _is_chosen(arm: ArmFacts, scoring: str, place: str) -> bool:
    return arm.chosen.get(place) == scoring


def reconstruction(findings: Findings) -> list[Table]:
    """How well the models reconstruct healthy test images."""
    made = []
    for metric in ("ssim", "lpips", "squared_error"):
        rows = [
            Wanted(
                f"RA, {arm.name}", "ours" if arm is findings.ours else "ra", partial(_rebuilt, findings, arm, metric)
            )
            for arm in findings.data.arms
        ]
        made.append(table(METRICS[metric][0], findings.places, rows))
    return [found for found in made if found]


def _rebuilt(findings: Findings, arm: ArmFacts, metric: str, place: str) -> Cell | None:
    return findings.ra(arm, place, metric, "healthy", "reconstruction")
