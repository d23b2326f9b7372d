"""Which lesions are found, by finding and by size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from ra_core.words import listed
from simulation.grid.page.chapter import MEAN, WAYS, Chapter, all_sites, heads
from simulation.grid.page.data import StudyData
from simulation.grid.page.numbers import cell
from simulation.grid.result import TWINS
from simulation.report.cells import Cell
from simulation.report.figures import dots
from simulation.report.metrics import METRICS
from simulation.report.sections import Panel, Section, in_order, limits, pair
from simulation.report.tables import Table, Wanted, table
from simulation.report.words import capital

__all__ = ["lesions"]

TWIN = (
    "Methods that draw one. It should differ from the image inside lesions, so that these are seen, and nowhere else: "
    "a method that is far from the image in both (a low SSIM, a high squared error and LPIPS) draws badly, one that is "
    "near to it in both draws the lesion too."
)


def lesions(data: StudyData) -> Chapter:
    """Over all trained sites, and by site, since findings and counts are each site's own."""
    models = [(name, arm) for name in data.methods if (arm := data.arm_of(name, WAYS))]
    places = (*([MEAN] if len(data.trained) > 1 else []), *data.trained, *data.answers.held_out)
    sections = [found for place in places if (found := _at(data, models, place))]
    healed = [made for metric in TWINS if (made := _healed(data, models, metric))]
    if healed:
        sections.append(Section("In the pseudo-healthy twin", TWIN, healed, []))
    text = (
        "Sick images of one finding, or with lesions of one size (small: below 1 % of the foreground, large: above "
        "4 %), against all healthy ones. Groups of fewer than 10 images at a site are left out. Scored as chosen; each "
        f"method in the first way to train of {listed(WAYS)} that it has: hold rows of one way against each other."
    )
    lacking = "No site has groups of at least 10 images."
    return Chapter("lesions", "Which lesions are found?", text, sections, lacking)


def _at(data: StudyData, models: Sequence[tuple[str, str]], place: str) -> Section | None:
    """All groups of a site, or on average over those trained sites that have them."""
    sites = data.trained if place == MEAN else (place,)
    groups = in_order({n.anomaly for r in data.results for n in r.numbers if n.test_site in sites})
    tables, panels = [], []
    for metric in ("auroc", "detection_rate", "pixel_auprc", "box_auroc"):
        rows = {
            name: Wanted(
                f"{data.label(name)}, {arm}", data.kind(name), partial(_group, data, metric, (name, arm), place)
            )
            for name, arm in models
        }
        caption = (
            f"{METRICS[metric][0]} by group, {MEAN} that have it"
            if place == MEAN
            else f"{METRICS[metric][0]} by group at {place}"
        )
        made = table(caption, heads(groups), rows.values())
        if made:
            tables.append(made)
            panels.append(_group_panel(caption, metric, rows, data.subject, groups))
    legend = (data.subject, "the best other method, which favours it")
    title = capital(place) if place == MEAN else f"At {place}"
    return Section(title, "", tables, [p for p in panels if p], legend) if tables else None


def _healed(data: StudyData, models: Sequence[tuple[str, str]], metric: str) -> Table | None:
    rows = [
        Wanted(f"{data.label(name)}, {arm}", data.kind(name), partial(_twin, data, metric, (name, arm)))
        for name, arm in models
    ]
    places = all_sites(data)
    return table(METRICS[metric][0], places, rows)


def _twin(data: StudyData, metric: str, model: tuple[str, str], site: str) -> Cell | None:
    return cell(data.answers.at(*model, site, metric, "reconstruction"))


def _group(data: StudyData, metric: str, model: tuple[str, str], place: str, group: str) -> Cell | None:
    if place == MEAN:
        return cell(data.answers.mean(*model, metric, data.answers.having(metric, group), anomaly=group))
    return cell(data.answers.at(*model, place, metric, anomaly=group))


def _group_panel(
    title: str, metric: str, rows: Mapping[str, Wanted], subject: str, groups: Sequence[str]
) -> Panel | None:
    found = []
    for group in groups:
        cells = {name: row.find(group) for name, row in rows.items()}
        ours = cells.pop(subject, None)
        others = [one for one in cells.values() if one and one.value is not None]
        best = max(others, key=lambda one: one.value or 0.0, default=None)
        if (ours and ours.value is not None) or best:
            found.append((group, ours, best))
    if not found:
        return None
    labels, first, second = zip(*found, strict=True)
    return Panel(METRICS[metric][0], "", dots(title, labels, pair(first, second), limits(metric, [*first, *second])))
