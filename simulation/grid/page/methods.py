"""Which method finds most: all of them in each way to train, and what the study's main one has over each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from ra_core.words import counted, listed
from simulation.grid.arms import ARMS
from simulation.grid.page.chapter import MEAN, WAYS, Chapter, by_title, column, heads, shortcut_at, shortcut_rows, sites
from simulation.grid.page.data import StudyData
from simulation.grid.page.numbers import (
    ALIKE,
    COMPARED,
    HEADLINES,
    METRICS_ASKED,
    PLACES_ALIKE,
    RATES,
    Asked,
    cell,
    difference,
    measured,
)
from simulation.grid.page.panels import differences, values
from simulation.grid.page.scorings import scorings
from simulation.grid.page.words import Point, against, budget, inner
from simulation.grid.paired import Paired, Verdict
from simulation.report.cells import Cell
from simulation.report.sections import Section
from simulation.report.tables import Table, Wanted, table
from simulation.report.words import capital

__all__ = ["lost", "methods"]

BY_SITE = (*HEADLINES, *RATES)
"""What is told site by site too."""

Lead = Callable[[StudyData, str, str, Asked], Paired | None]
"""Finds what the study's main method has over another, or over a shortcut, trained in one way."""


def methods(data: StudyData) -> Chapter:
    """Of each way to train that has any: pooled, federated averaging, each site alone."""
    ours = data.subject
    text = (
        f"{budget(data)} "
        f"Each number is the mean over {counted(len(data.trained), 'trained site')}, each counting the same; sites "
        "without the images that a number is of are left out of it. Unless a column says otherwise, a method is scored "
        "as chosen at each site on healthy validation images with synthetic anomalies in them; the last two columns "
        "score every method alike: by its plain residual (its distance, for a method that reconstructs nothing), and "
        "as the paper scores RA; where masks allow, a table of its own does the same for places. Higher is better "
        "everywhere but in LPIPS. The table of differences of each way to train has "
        f"{ours} minus the method, patient by patient, of the seeds that both have. A shortcut is a plain number of "
        "the picture that knows nothing of disease; its image AUROC is read in the better direction at each site where "
        "means are compared, which favours it, and as it is in tables by site."
    )
    sections = [found for arm in WAYS if (found := _arm(data, arm))]
    sections += [found] if (found := scorings(data)) else []
    points = [point for arm in WAYS for point in _standings(data, arm)]
    lacking = "No method is finished at all sites."
    return Chapter("methods", "Which method finds most?", text, sections, lacking, points)


def _arm(data: StudyData, arm: str) -> Section | None:
    methods = [name for name in data.methods if data.has(name, arm)]
    columns = [one for one in measured(data, METRICS_ASKED) if any(_mean(data, arm, one, name) for name in methods)]
    rows = _means(data, arm, methods, columns) if methods else []
    found = table(f"{arm}: {MEAN}", heads(asked.title for asked in columns), rows)
    if not found:
        return None
    compared = [asked for asked in columns if asked in (*COMPARED, *ALIKE)]
    leads = _leads(data, arm, compared)
    caption = f"{arm}: {data.subject} minus the method, {MEAN}"
    tables = [found, _places(data, arm, methods), table(caption, heads(asked.title for asked in compared), leads)]
    tables += [_by_site(data, arm, methods, asked) for asked in measured(data, BY_SITE)]
    panels = []
    for asked in HEADLINES:
        cells, over = (column(asked, of) if asked in columns else {} for of in (rows, leads))
        ours = data.label(data.subject)
        panels.append(values(f"{asked.title}, {arm}", [*cells], [*cells.values()], asked, ours))
        title = f"{data.subject} minus the method, {arm}: {asked.title}"
        panels.append(differences(title, [*over], [*over.values()]))
    missing = [f"{one.method} ({one.reason})" for one in data.refused if one.arm == arm]
    text = f"{capital(ARMS[arm].meaning)}." + (f" Not possible in this way: {listed(missing)}." if missing else "")
    return Section(f"Trained {arm}", text, [made for made in tables if made], [p for p in panels if p])


def _places(data: StudyData, arm: str, methods: Sequence[str]) -> Table | None:
    """How well each method finds places where all are scored alike; a shortcut has no such scoring."""
    columns = measured(data, PLACES_ALIKE)
    rows = _method_means(data, arm, methods, columns)
    return table(f"{arm}: places, scored alike, {MEAN}", heads(asked.title for asked in columns), rows)


def _method_means(data: StudyData, arm: str, methods: Sequence[str], columns: Sequence[Asked]) -> list[Wanted]:
    """Over trained sites."""
    return [
        Wanted(data.label(name), data.kind(name), by_title(columns, partial(_mean, data, arm, method=name)))
        for name in methods
    ]


def _means(data: StudyData, arm: str, methods: Sequence[str], columns: Sequence[Asked]) -> list[Wanted]:
    """Of methods and shortcuts, over trained sites."""
    rows = _method_means(data, arm, methods, columns)
    return rows + shortcut_rows(data, lambda name: by_title(columns, partial(_short, data, name=name)))


def _leads(data: StudyData, arm: str, compared: Sequence[Asked]) -> list[Wanted]:
    """What the study's main method has over others, and over shortcuts."""
    if not data.has(data.subject, arm):
        return []
    rows = [
        Wanted(data.label(name), data.kind(name), by_title(compared, partial(_led, _lead, data, arm, name)))
        for name in _rivals(data, arm)
    ]
    return rows + shortcut_rows(data, lambda name: by_title(compared, partial(_led, _short_lead, data, arm, name)))


def _standings(data: StudyData, arm: str) -> list[Point]:
    """The verdicts of these differences in words."""
    points, leads = [], _over_each(data, arm)
    for asked in measured(data, (*HEADLINES, *ALIKE)):
        found = {data.label(name) if name in data.methods else name: lead(asked) for name, lead in leads.items()}
        points.append(Point(f"{asked.title}, {data.subject}, {arm}", "", against(found)))
    return [point for point in points if point.found]


def lost(data: StudyData) -> Iterator[str]:
    """Numbers in which the study's main method is worse than what else is trained so: a sentence a way to train."""
    asked = measured(data, (*COMPARED, *ALIKE))
    for arm in WAYS:
        told = []
        for name, lead in _over_each(data, arm).items():
            found = {one.title: lead(one) for one in asked}
            worse = [f"{title}: {inner(one)}" for title, one in found.items() if one and _is_worse(one)]
            told += [f"{name} ({'; '.join(worse)})"] if worse else []
        if told:
            where = " on average over sites" if len(data.trained) > 1 else ""
            yield f"{data.subject}, {arm}, is worse{where} than {listed(told)}."


def _over_each(data: StudyData, arm: str) -> dict[str, Callable[[Asked], Paired | None]]:
    """What the study's main method has over each other one and each shortcut, by name; to be asked for a number."""
    if not data.has(data.subject, arm):
        return {}
    found: dict[str, Callable[[Asked], Paired | None]]
    found = {name: partial(_lead, data, arm, name) for name in _rivals(data, arm)}
    found |= {f"shortcut {name}": partial(_short_lead, data, arm, name) for name in data.answers.shortcuts}
    return found


def _is_worse(found: Paired) -> bool:
    return found.value is not None and Verdict.of(found) is Verdict.worse


def _rivals(data: StudyData, arm: str) -> list[str]:
    return [name for name in data.methods if name != data.subject and data.has(name, arm)]


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


def _led(find: Lead, data: StudyData, arm: str, name: str, asked: Asked) -> Cell | None:
    return difference(find(data, arm, name, asked))


def _lead(data: StudyData, arm: str, name: str, asked: Asked) -> Paired | None:
    ours, theirs = asked.scoring_of(data.plain(data.subject)), asked.scoring_of(data.plain(name))
    return data.answers.versus((data.subject, arm), (name, arm), asked.metric, data.trained, (ours, theirs))


def _short(data: StudyData, asked: Asked, name: str) -> Cell | None:
    """What a shortcut has, where methods are scored as chosen."""
    return cell(data.answers.mean_shortcut(name, asked.metric, data.trained)) if _of_shortcuts(asked) else None


def _of_shortcuts(asked: Asked) -> bool:
    """Not under another scoring, and not what depends on the direction in which a shortcut is read."""
    return not asked.scoring and asked.metric != "auprc"


def _short_lead(data: StudyData, arm: str, name: str, asked: Asked) -> Paired | None:
    if not _of_shortcuts(asked):
        return None
    return data.answers.versus_shortcut((data.subject, arm), name, asked.metric, data.trained)
