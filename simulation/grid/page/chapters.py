"""The questions of a study in their order, each with the tables and figures that answer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from ra_core.metrics import Estimate
from ra_core.words import counted, listed
from simulation.grid.arms import ARMS
from simulation.grid.page.alarms import false_alarms
from simulation.grid.page.chapter import (
    MEAN,
    Chapter,
    by_title,
    column,
    heads,
    minus,
    shortcut_at,
    shortcut_rows,
    sites,
    sites_and_mean,
)
from simulation.grid.page.data import FEDERATED, StudyData
from simulation.grid.page.lesions import lesions
from simulation.grid.page.numbers import ALIKE, AUROC, COMPARED, METRICS_ASKED, PIXEL, Asked, cell, difference, measured
from simulation.grid.page.outside import outside
from simulation.grid.page.panels import around, differences, grown, values
from simulation.grid.page.words import budget, far_from_pooled, helped
from simulation.grid.paired import FEW_TO_JUDGE, LEAST, MARGIN
from simulation.report.cells import Cell
from simulation.report.sections import Section
from simulation.report.tables import Table, Wanted, table
from simulation.report.words import capital

__all__ = ["chapters"]


BY_SITE = (AUROC, PIXEL, Asked("detection_rate"), Asked("false_alarm_rate"))
"""What is told site by site too."""


def chapters(data: StudyData) -> list[Chapter]:
    """All of them."""
    return [
        _methods(data),
        _federation(data),
        _pooled(data),
        outside(data),
        _growing(data),
        lesions(data),
        false_alarms(data),
        _seeds(data),
    ]


def _methods(data: StudyData) -> Chapter:
    ours = data.subject
    text = (
        f"{budget(data)} "
        f"Each number is the mean over the {len(data.trained)} trained sites, each counting the same; sites without "
        "the images that a number is of are left out of it. Unless a column says otherwise, a method is scored as "
        "chosen at each site on healthy validation images with synthetic "
        "anomalies in them; the last two columns score every method alike: by its plain residual (its distance, for "
        "a method that reconstructs nothing), and as the paper scores RA. Higher is better everywhere but in LPIPS. "
        f"The second table of each way to train has {ours} minus the method, patient by patient, of the seeds "
        "that both have. A shortcut is a plain "
        "number of the picture that knows nothing of disease; its image AUROC is read in the better direction at each "
        "site where means are compared, which favours it, and as it is in tables by site."
    )
    sections = [found for arm in ("pooled", "fedavg", "local") if (found := _arm(data, arm))]
    return Chapter("methods", "Which method finds most?", text, sections, "No method is finished at all sites.")


def _arm(data: StudyData, arm: str) -> Section | None:
    methods = [name for name in data.methods if data.has(name, arm)]
    columns = [asked for asked in METRICS_ASKED if any(_mean(data, arm, asked, name) for name in methods)]
    rows = _means(data, arm, methods, columns) if methods else []
    found = table(f"{arm}: {MEAN}", heads(asked.title for asked in columns), rows)
    if not found:
        return None
    compared = [asked for asked in columns if asked in (*COMPARED, *ALIKE)]
    against = _leads(data, arm, [name for name in methods if name != data.subject], compared)
    caption = f"{arm}: {data.subject} minus the method, {MEAN}"
    tables = [found, table(caption, heads(asked.title for asked in compared), against)]
    tables += [_by_site(data, arm, methods, asked) for asked in measured(data, BY_SITE)]
    panels = []
    for asked in (AUROC, PIXEL):
        cells, leads = (column(asked, of) if asked in columns else {} for of in (rows, against))
        ours = data.label(data.subject)
        panels.append(values(f"{asked.title}, {arm}", [*cells], [*cells.values()], asked, ours))
        title = f"{data.subject} minus the method, {arm}: {asked.title}"
        panels.append(differences(title, [*leads], [*leads.values()]))
    missing = [f"{one.method} ({one.reason})" for one in data.refused if one.arm == arm]
    text = f"{capital(ARMS[arm].meaning)}." + (f" Not possible in this way: {listed(missing)}." if missing else "")
    return Section(f"Trained {arm}", text, [made for made in tables if made], [p for p in panels if p])


def _means(data: StudyData, arm: str, methods: Sequence[str], columns: Sequence[Asked]) -> list[Wanted]:
    """Of methods and shortcuts, over trained sites."""
    rows = [
        Wanted(data.label(name), data.kind(name), by_title(columns, partial(_mean, data, arm, method=name)))
        for name in methods
    ]
    return rows + shortcut_rows(data, lambda name: by_title(columns, partial(_short, data, name=name)))


def _leads(data: StudyData, arm: str, rivals: Sequence[str], compared: Sequence[Asked]) -> list[Wanted]:
    """What the study's main method has over others, and over shortcuts."""
    if not data.has(data.subject, arm):
        return []
    rows = [
        Wanted(data.label(name), data.kind(name), by_title(compared, partial(_lead, data, arm, method=name)))
        for name in rivals
    ]
    return rows + shortcut_rows(data, lambda name: by_title(compared, partial(_short_lead, data, arm, name=name)))


def _by_site(data: StudyData, arm: str, methods: Sequence[str], asked: Asked) -> Table | None:
    """What each method has at each trained site; with `local`, that is the site's own model."""
    rows = [Wanted(data.label(m), data.kind(m), partial(_at, data, m, arm, asked)) for m in methods]
    rows += shortcut_rows(data, lambda name: partial(shortcut_at, data, asked, name))
    return table(f"{arm}: {asked.title} at each site", sites(data.trained), rows)


def _at(data: StudyData, method: str, arm: str, asked: Asked, site: str) -> Cell | None:
    return cell(data.answers.at(method, arm, site, asked.metric))


def _mean(data: StudyData, arm: str, asked: Asked, method: str) -> Cell | None:
    scoring = asked.scoring_of(data.plain(method))
    found = data.answers.mean(method, arm, asked.metric, data.trained, scoring, asked.anomaly)
    return cell(found, scoring if scoring == "distance" else "")


def _lead(data: StudyData, arm: str, asked: Asked, method: str) -> Cell | None:
    ours, theirs = asked.scoring_of(data.plain(data.subject)), asked.scoring_of(data.plain(method))
    a, b = (data.subject, arm), (method, arm)
    return difference(data.answers.versus(a, b, asked.metric, data.trained, (ours, theirs)))


def _short(data: StudyData, asked: Asked, name: str) -> Cell | None:
    """What a shortcut has, where methods are scored as chosen."""
    return cell(data.answers.mean_shortcut(name, asked.metric, data.trained)) if _of_shortcuts(asked) else None


def _of_shortcuts(asked: Asked) -> bool:
    """Not under another scoring, and not what depends on the direction in which a shortcut is read."""
    return not asked.scoring and asked.metric != "auprc"


def _short_lead(data: StudyData, arm: str, asked: Asked, name: str) -> Cell | None:
    if not _of_shortcuts(asked):
        return None
    return difference(data.answers.versus_shortcut((data.subject, arm), name, asked.metric, data.trained))


def _federation(data: StudyData) -> Chapter:
    models = [(name, arm) for name in data.methods for arm in FEDERATED if data.has(name, arm, "local")]
    places = sites_and_mean(data.trained)
    sections = []
    for asked in measured(data, (AUROC, PIXEL)):
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
    asked = measured(data, COMPARED)
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
        if one in (AUROC, PIXEL)
    ]
    text = (
        "Pooled is one model on all images in one place, which hospitals can't have. Equivalent is said only where the "
        f"whole interval lies within ±{MARGIN:g} (shaded) and neither number may be below {LEAST:g}, else better, "
        "worse or inconclusive: few patients show no equality, and near 0 any two numbers are alike."
    )
    sections = [Section("Each federated way to train", "", [made], [p for p in panels if p])] if made else []
    lacking = "Needs a method with finished cells of a federated way to train and of pooled."
    return Chapter("pooled", "How far is federated from pooled?", text, sections, lacking, far_from_pooled(data))


def _growing(data: StudyData) -> Chapter:
    sections = []
    for asked in measured(data, (AUROC, PIXEL)):
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
    for asked in measured(data, (AUROC, PIXEL)):
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
