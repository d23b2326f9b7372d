"""What a hospital has that took no part: one that was left out, and those that are held out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from simulation.grid.page.chapter import MEAN, Chapter, minus, shortcut_at, shortcut_rows, sites, sites_and_mean
from simulation.grid.page.data import FEDERATED, StudyData
from simulation.grid.page.numbers import COMPARED, HEADLINES, RATES, RATES_ALIKE, Asked, cell, measured
from simulation.grid.page.panels import values
from simulation.report.cells import Cell
from simulation.report.sections import Panel, Section
from simulation.report.tables import Table, Wanted, table

__all__ = ["outside"]

OTHERS = "other sites' own models"
"""Stands in place of a way to train: the mean of what these have."""

AT_HELD_OUT = ("pooled", *FEDERATED, "local", OTHERS)


def outside(data: StudyData) -> Chapter:
    """At each left-out and each held-out site."""
    sections = []
    for asked in measured(data, (*HEADLINES, *RATES, *RATES_ALIKE)):
        tables = [
            _left_out(data, asked),
            _left_out_differences(data, asked),
            _held_out(data, asked),
            _held_out_differences(data, asked),
        ]
        found = [made for made in tables if made]
        if found:
            sections.append(Section(asked.title, "", found, [p for p in _outside_panels(data, asked) if p]))
    text = (
        "Left out: for each trained site, the model of all others (leave_one_out) beside the one that it had a part in "
        f"(fedavg), its own (local), and the mean of the models that other sites have for themselves ({OTHERS}). Held "
        "out: sites whose images no model of other sites was trained on. Where sites keep parts of the model, a site "
        "that took no part trains these on its own healthy images with the shared ones frozen, for as many steps as "
        "the row says, or has no model: not estimable. So hold such a row against the site's own model (local), which "
        "has seen these images too, and not against pooled alone, as the differences do. Detection rates belong with "
        "their false alarm rates: both are at the threshold set on healthy validation images."
    )
    lacking = "Needs held-out sites, or finished cells of leave_one_out."
    return Chapter("outside", "What has a hospital that took no part?", text, sections, lacking)


def _left_out(data: StudyData, asked: Asked) -> Table | None:
    arms = ("leave_one_out", "fedavg", "pooled", "local", OTHERS)
    rows = [
        Wanted(f"{data.label(name)}, {arm}", data.kind(name), partial(_somewhere, data, asked, name, arm))
        for name in data.methods
        if data.has(name, "leave_one_out")
        for arm in arms
    ]
    return table(f"{asked.title} at each left-out site", sites_and_mean(data.trained), rows)


def _left_out_differences(data: StudyData, asked: Asked) -> Table | None:
    if asked not in COMPARED:
        return None
    rows = [
        Wanted(
            f"{data.label(name)}: left out minus {arm}",
            data.kind(name),
            partial(minus, data, asked, (name, "leave_one_out"), (name, arm)),
        )
        for name in data.methods
        for arm in ("local", "fedavg")
        if data.has(name, "leave_one_out", arm)
    ]
    return table(f"{asked.title}: the model of all other sites minus another", sites_and_mean(data.trained), rows)


def _held_out(data: StudyData, asked: Asked) -> Table | None:
    rows = [
        Wanted(_adapted(data, name, arm), data.kind(name), partial(_somewhere, data, asked, name, arm))
        for name in data.methods
        for arm in AT_HELD_OUT
    ]
    if rows and not asked.scoring:
        rows += shortcut_rows(data, lambda name: partial(shortcut_at, data, asked, name))
    return table(f"{asked.title} at held-out sites", sites(data.answers.held_out, "held out"), rows)


def _held_out_differences(data: StudyData, asked: Asked) -> Table | None:
    """What federation costs at a scanner that no model has seen."""
    if asked not in COMPARED:
        return None
    rows = [
        Wanted(
            f"{_adapted(data, name, arm)} minus pooled",
            data.kind(name),
            partial(_cost, data, asked, name, arm),
        )
        for name in data.methods
        for arm in FEDERATED
        if data.pooled_of(name) and data.has(name, arm)
    ]
    caption = f"{asked.title} at held-out sites: federated minus pooled"
    return table(caption, sites(data.answers.held_out, "held out"), rows)


def _cost(data: StudyData, asked: Asked, method: str, arm: str, site: str) -> Cell | None:
    found = minus(data, asked, (method, arm), (data.pooled_of(method), "pooled"), site)
    return found if found and found.value is not None else None


def _adapted(data: StudyData, method: str, arm: str) -> str:
    """A row's head: parts that are each site's own are adapted for so many steps."""
    steps = max((result.adapted for result in data.answers.of(method, arm)), default=0)
    told = f" (adapted, {steps} steps)" if steps else ""
    return f"{data.label(method)}, {arm}{told}"


def _somewhere(data: StudyData, asked: Asked, method: str, arm: str, place: str) -> Cell | None:
    """What a model has at a trained or held-out site, or on average over trained ones."""
    scoring = asked.scoring_of(data.plain(method))
    if arm == OTHERS:
        return None if place == MEAN else cell(data.answers.elsewhere(method, place, asked.metric, scoring))
    if place == MEAN:
        return cell(data.answers.mean(method, arm, asked.metric, data.trained, scoring))
    return cell(data.answers.at(method, arm, place, asked.metric, scoring))


def _outside_panels(data: StudyData, asked: Asked) -> Iterator[Panel | None]:
    """At each site of that kind, all that RA has there."""
    name = data.subject
    sites = [(site, "left out") for site in data.trained if data.has(name, "leave_one_out")]
    sites += [(site, "held out") for site in data.answers.held_out]
    for site, tag in sites:
        arms = ("leave_one_out", "fedavg", "local", OTHERS) if tag == "left out" else AT_HELD_OUT
        found = {arm: one for arm in arms if (one := _somewhere(data, asked, name, arm, site))}
        ours = "leave_one_out" if tag == "left out" else "fedavg"
        yield values(f"{name} at {site}: {asked.title}", [*found], [*found.values()], asked, ours, tag)
