"""The questions of a study in their order, each with the tables and figures that answer it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ra_core.metrics import Estimate
from ra_core.words import counted
from simulation.grid.page.alarms import false_alarms
from simulation.grid.page.chapter import MEAN, Chapter, by_title, heads, minus, sites_and_mean
from simulation.grid.page.data import FEDERATED, StudyData
from simulation.grid.page.lesions import lesions
from simulation.grid.page.methods import methods
from simulation.grid.page.numbers import ALIKE, COMPARED, HEADLINES, Asked, cell, measured
from simulation.grid.page.outside import outside
from simulation.grid.page.panels import around, differences, grown
from simulation.grid.page.words import far_from, helped
from simulation.grid.paired import FEW_TO_JUDGE, LEAST, MARGIN
from simulation.report.cells import Cell
from simulation.report.sections import Section
from simulation.report.tables import Wanted, table

__all__ = ["chapters"]


def chapters(data: StudyData) -> list[Chapter]:
    """All of them."""
    return [
        methods(data),
        _federation(data),
        _pooled(data),
        _averaging(data),
        outside(data),
        _growing(data),
        lesions(data),
        false_alarms(data),
        _seeds(data),
    ]


def _federation(data: StudyData) -> Chapter:
    models = [(name, arm) for name in data.methods for arm in FEDERATED if data.has(name, arm, "local")]
    places = sites_and_mean(data.trained)
    sections = []
    for asked in measured(data, (*HEADLINES, *ALIKE)):
        rows = [
            Wanted(
                f"{data.label(name)}, {arm}", data.kind(name), partial(minus, data, asked, (name, arm), (name, "local"))
            )
            for name, arm in models
        ]
        shown = {data.label(name): row for (name, arm), row in zip(models, rows, strict=True) if arm == "fedavg"}
        cells = {p: [row.find(p.name) for row in shown.values()] for p in places}
        ends = around([one for found in cells.values() for one in found])
        panels = [differences(f"{asked.title} {p.at}", [*shown], cells[p], ends, p.name) for p in places]
        made = table(f"{asked.title}: federated minus the site's own model", places, rows)
        if made:
            sections.append(Section(asked.title, "", [made], [p for p in panels if p]))
    text = (
        "Federated minus local: the shared model against the site's own, on the same patients of that site. The "
        f"figures have federated averaging. A site is significantly harmed where the whole interval lies below "
        f"0, within ±{MARGIN:g} (shaded) or not; with fewer than {FEW_TO_JUDGE} patients of a kind that can't be told."
    )
    lacking = "Needs a method with finished cells of fedavg and of every site's own model (local)."
    return Chapter("federation", "Does federation help this hospital?", text, sections, lacking, helped(data))


def _pooled(data: StudyData) -> Chapter:
    models = [(name, arm) for name in data.methods if data.pooled_of(name) for arm in FEDERATED if data.has(name, arm)]
    asked = measured(data, (*COMPARED, *ALIKE))
    rows = [
        Wanted(
            f"{data.label(name)}, {arm}",
            data.kind(name),
            by_title(asked, partial(minus, data, a=(name, arm), b=(data.pooled_of(name), "pooled"))),
        )
        for name, arm in models
    ]
    made = table(f"Federated minus pooled, {MEAN}", heads(one.title for one in asked), rows)
    labels = [f"{name}, {arm}" for name, arm in models]
    panels = [
        differences(f"Federated minus pooled: {one.title}", labels, [row.find(one.title) for row in rows])
        for one in asked
        if one in HEADLINES
    ]
    text = (
        "Pooled is one model on all images in one place, which hospitals can't have. Equivalent is said only where the "
        f"whole interval lies within ±{MARGIN:g} (shaded) and neither number may be below {LEAST:g}, else better, "
        "worse or inconclusive: few patients show no equality, and near 0 any two numbers are alike."
    )
    sections = [Section("Each federated way to train", "", [made], [p for p in panels if p])] if made else []
    lacking = "Needs a method with finished cells of a federated way to train and of pooled."
    return Chapter("pooled", "How far is federated from pooled?", text, sections, lacking, far_from(data, "pooled"))


def _averaging(data: StudyData) -> Chapter:
    ours, asked = data.subject, measured(data, (*COMPARED, *ALIKE))
    ways = [arm for arm in FEDERATED if arm != "fedavg" and data.has(ours, arm, "fedavg")]
    rows = [
        Wanted(
            f"{ours}, {arm}", data.kind(ours), by_title(asked, partial(minus, data, a=(ours, arm), b=(ours, "fedavg")))
        )
        for arm in ways
    ]
    made = table(f"Each federated way minus plain averaging (fedavg), {MEAN}", heads(one.title for one in asked), rows)
    text = f"Of {ours}: each other federated way to train minus federated averaging, patient by patient."
    sections = [Section("Each other federated way to train", "", [made])] if made else []
    lacking = f"Needs finished cells of {ours} by fedavg and by another federated way to train."
    title = "Is another federated way better than plain averaging?"
    return Chapter("averaging", title, text, sections, lacking, far_from(data, "fedavg"))


def _growing(data: StudyData) -> Chapter:
    sections = []
    for asked in measured(data, HEADLINES):
        found = {name: data.answers.growing(name, asked.metric, data.trained) for name in data.methods}
        found = {name: by_count for name, by_count in found.items() if by_count}
        counts = sorted({count for by_count in found.values() for count in by_count})
        by_head = {counted(count, "site"): count for count in counts}
        rows = [
            Wanted(data.label(name), data.kind(name), partial(_grown, by_count, by_head))
            for name, by_count in found.items()
        ]
        made = table(f"{asked.title} by number of sites trained on, {MEAN}", heads(by_head), rows)
        if made:
            sections.append(Section(asked.title, "", [made], [grown(asked.title, found)]))
    text = (
        f"Sites are added in the study's order: {', '.join(data.trained)}. Measured is at all of them, also at those "
        "that aren't in yet; one site is the first one's own model."
    )
    lacking = "Needs finished cells of growing."
    return Chapter("growing", "What does another site add?", text, sections, lacking)


def _grown(by_count: Mapping[int, Estimate], by_head: Mapping[str, int], head: str) -> Cell | None:
    return cell(by_count.get(by_head[head]))


def _seeds(data: StudyData) -> Chapter:
    seeds = data.answers.seeds
    models = [(name, arm) for name in data.methods for arm in data.answers.arms if len(seeds(name, arm)) > 1]
    titles = [f"seed {seed}" for seed in sorted({seed for model in models for seed in seeds(*model)})]
    tables = []
    for asked in measured(data, HEADLINES):
        rows = [
            Wanted(f"{data.label(name)}, {arm}", data.kind(name), partial(_seed, data, asked, (name, arm)))
            for name, arm in models
        ]
        tables.append(table(f"{asked.title} by seed, {MEAN}", heads((*titles, *SPREAD)), rows))
    found = [made for made in tables if made]
    sections = [Section("Seed by seed", "", found)] if found else []
    text = (
        "Means over seeds stand in all tables above, with intervals of the patients alone: how much another seed "
        "would change is seen here. The spread is the sample's standard deviation over seeds."
    )
    return Chapter("seeds", "What does another seed change?", text, sections, "No model has more than one seed.")


SPREAD = ("mean", "standard deviation")


def _seed(data: StudyData, asked: Asked, model: tuple[str, str], place: str) -> Cell | None:
    if place == SPREAD[1]:
        return cell(data.answers.spread(*model, asked.metric, data.trained))
    seeds = None if place == SPREAD[0] else [int(place.removeprefix("seed "))]
    return cell(data.answers.mean(*model, asked.metric, data.trained, seeds=seeds))
