"""The page's sentences, made from its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ra_core.metrics import Estimate
from ra_core.words import counted, listed
from simulation.grid.page.data import FEDERATED, StudyData
from simulation.grid.page.numbers import AUROC, HEADLINES, Asked, measured
from simulation.grid.paired import Paired, Verdict
from simulation.report.cells import Cell
from simulation.report.sections import QUESTIONS
from simulation.report.words import capital

__all__ = [
    "Card",
    "Point",
    "against",
    "banner",
    "budget",
    "far_from",
    "headline",
    "helped",
    "inner",
    "introduction",
]

TAILS = {
    Verdict.better: "than",
    Verdict.worse: "than",
    Verdict.equivalent: "to",
    Verdict.same: "as",
    Verdict.inconclusive: "against",
}
ARMS_TOLD = {"fedavg": "federated (fedavg)", "pooled": "pooled", "local": "each site on its own"}


@dataclass(frozen=True)
class Point:
    """Part of an answer.

    Attributes:
        about: what it is about.
        text: a sentence; may be empty.
        found: verdicts, each with what it is on.
    """

    about: str
    text: str = ""
    found: Sequence[tuple[Verdict, str]] = ()

    @property
    def prose(self) -> str:
        """In one line."""
        told = "; ".join(f"{verdict.value} {what}" for verdict, what in self.found)
        return f"{self.about}: {' '.join(part for part in (self.text, capital(told) + '.' if told else '') if part)}"


@dataclass(frozen=True)
class Card:
    """A question, the figure that answers it, and what follows."""

    question: str
    figure: str
    points: Sequence[Point]


def banner(data: StudyData) -> list[str]:
    """What is missing."""
    found = []
    if data.waiting:
        found.append(
            f"Not finished: {len(data.results)} of {len(data.cells)} cells are. What isn't is missing below; "
            "averages are of the seeds that are finished at all sites."
        )
    if data.degraded:
        told = [f"{result.key} ({'; '.join(result.degraded)})" for result in data.degraded]
        found.append(f"Degraded: a site was missing in the training of {listed(told)}.")
    return found


def introduction(data: StudyData) -> str:
    """What was compared, and where."""
    arms = list(dict.fromkeys(cell.arm for cell in data.cells if cell.is_trained))
    methods = {cell.method for cell in data.cells if cell.is_trained}
    facts = data.sites.facts
    healthy, sick = (sum(getattr(site, name) for site in facts) for name in ("n_test_healthy", "n_test_anomalous"))
    held_out = data.answers.held_out
    out = f", of which {listed(held_out)} had no part in federated or pooled training" if held_out else ""
    return (
        f"{counted(len(methods), 'method')}, trained on healthy images of {listed(data.trained)} in "
        f"{counted(len(arms), 'way')} ({', '.join(arms)}), with {counted(len(data.seeds), 'seed')}. "
        f"All models were tested on {healthy:,} healthy and {sick:,} sick images of {counted(len(facts), 'site')}{out}."
    )


def budget(data: StudyData) -> str:
    """What each model may cost."""
    training, sites = data.config.study.training, len(data.trained)
    seen = training.steps * training.batch_size
    return (
        f"A method that learns by steps has {training.steps:,} of {training.batch_size} images each, unless its row "
        f"says otherwise: {seen:,} images pooled or local, and as many at each site in a federation, {sites * seen:,} "
        "in all. A method computed in one pass sees every training image once."
    )


def headline(data: StudyData, points_of: Mapping[str, Sequence[Point]]) -> list[Card]:
    """The study's questions with their short answers.

    Args:
        data: the study.
        points_of: the answers of the chapters, by anchor.
    """
    cards = [_ranking(data, asked, QUESTIONS[asked.metric]) for asked in measured(data, HEADLINES)]
    for question, (a, b), points in (
        ("Does federation help each hospital?", ("fedavg", "local"), points_of["federation"]),
        ("How far is federated from pooled?", ("fedavg", "pooled"), points_of["pooled"]),
        ("What has a hospital that took no part?", ("leave_one_out", "local"), _outside(data)),
    ):
        if points:
            cards.append(Card(question, _mean_difference(data, a, b), points))
    return cards


def _ranking(data: StudyData, asked: Asked, question: str) -> Card:
    """Who leads in each way to train, and how RA stands to the others."""
    points, figure = [], ""
    for arm, told in ARMS_TOLD.items():
        values = {name: data.answers.mean(name, arm, asked.metric, data.trained) for name in data.ranked}
        known = {name: one for name, one in values.items() if one and one.value is not None}
        if known:
            rivals = [name for name in known if name != data.subject]
            found = _standing(data, asked, arm, rivals) if data.subject in known else ()
            leads = _leads(data.subject, known)
            points.append(Point(f"{data.subject}, {told}", leads if figure else "", found))
            figure = figure or f"{capital(told)}: {leads}"
    return Card(f"{question} ({asked.title})", figure or "Not estimable.", points)


def _leads(ours: str, known: Mapping[str, Estimate]) -> str:
    """Who has the highest number, and which place RA has."""
    best = max(known, key=lambda name: known[name].value or 0.0)
    lead = f"{best} leads {counted(len(known), 'method')} with {Cell.of(known[best]).text}"
    if ours not in known or best == ours:
        return f"{lead}."
    place = 1 + sum((one.value or 0.0) > (known[ours].value or 0.0) for one in known.values())
    return f"{lead}; {ours} is number {place} with {Cell.of(known[ours]).text}."


def _standing(data: StudyData, asked: Asked, arm: str, rivals: Sequence[str]) -> list[tuple[Verdict, str]]:
    a, found = (data.subject, arm), {}
    for name in rivals:
        found[data.label(name)] = data.answers.versus(a, (name, arm), asked.metric, data.trained)
    strongest = _strongest_shortcut(data, asked)
    if strongest:
        one = data.answers.versus_shortcut(a, strongest, asked.metric, data.trained)
        found[f"the strongest shortcut ({strongest})"] = one
    return against(found)


def against(found: Mapping[str, Paired | None]) -> list[tuple[Verdict, str]]:
    """What something is better than, worse than and so on, from its differences to others by their names."""
    return [(verdict, f"{TAILS[verdict]} {listed(names)}") for verdict, names in _by_verdict(found).items()]


def _by_verdict(found: Mapping[str, Paired | None]) -> dict[Verdict, list[str]]:
    """Names of what has a value, by what its interval says."""
    known = {name: Verdict.of(one) for name, one in found.items() if one and one.value is not None}
    return {v: names for v in Verdict if (names := [name for name, verdict in known.items() if verdict is v])}


def _strongest_shortcut(data: StudyData, asked: Asked) -> str:
    found = {name: data.answers.mean_shortcut(name, asked.metric, data.trained) for name in data.answers.shortcuts}
    known = {name: one.value for name, one in found.items() if one and one.value is not None}
    return max(known, key=lambda name: known[name], default="")


def helped(data: StudyData) -> list[Point]:
    """At which sites federation is better and worse than the site's own model: of RA, and any harm by any of them."""
    points = []
    models = [(name, arm) for name in data.methods for arm in FEDERATED if data.has(name, arm, "local")]
    for asked in measured(data, HEADLINES) if models else ():
        harmed, others, untold, found = [], Counter[str](), dict[str, None](), []
        for name, arm in models:
            by_site = _site_by_site(data, asked, (name, arm), (name, "local"))
            hurt = [site for site, one in by_site.items() if one.is_harm]
            if name != data.subject:
                others[name] += len(hurt)
            elif hurt:
                harmed.append(f"{listed(hurt)} ({arm})")
            untold |= dict.fromkeys(site for site, one in by_site.items() if not one.can_be_judged)
            if (name, arm) == (data.subject, "fedavg"):
                found = [(verdict, f"at {listed(sites)}") for verdict, sites in _by_verdict(by_site).items()]
        points.append(Point(f"{asked.title}, {data.subject}", "", found))
        points.append(Point(f"{asked.title}, all methods", _harm(data, harmed, +others, list(untold))))
    return points


def _harm(data: StudyData, harmed: Sequence[str], others: Mapping[str, int], untold: Sequence[str]) -> str:
    """Whom RA harms, how often other methods harm a site, and of whom that can't be told."""
    told = [f"Too few patients to tell at {listed(untold)}."] if untold else []
    nobody = "no other site" if untold else "no site"
    if harmed or others:
        told.append(f"Significantly harmed with {data.subject}: {'; '.join(harmed) or nobody}.")
    elif len(untold) < len(data.trained):
        told.append(f"{capital(nobody)} is significantly harmed, by any method in any federated way to train.")
    if others:
        counts = listed([f"{count} with {name}" for name, count in others.items()])
        told.append(f"With other methods, counted by site and way to train: {counts}; the tables have each difference.")
    return " ".join(told)


def far_from(data: StudyData, arm: str) -> list[Point]:
    """Of RA: each federated way to train against another way."""
    points, ways = [], [way for way in FEDERATED if way != arm]
    for asked in measured(data, HEADLINES):
        other = (data.subject, arm)
        found = {a: data.answers.versus((data.subject, a), other, asked.metric, data.trained) for a in ways}
        told = [(verdict, f"with {listed(arms)}") for verdict, arms in _by_verdict(found).items()]
        if told:
            points.append(Point(f"{asked.title}, {data.subject}", "", told))
    return points


def _outside(data: StudyData) -> list[Point]:
    """Of RA: what a site has from a model it had no part in."""
    points = []
    for asked in measured(data, HEADLINES):
        for arm, told in (("local", "its own"), ("fedavg", "the one it had a part in")):
            found = _site_by_site(data, asked, (data.subject, "leave_one_out"), (data.subject, arm))
            verdicts = [(verdict, f"at {listed(sites)}") for verdict, sites in _by_verdict(found).items()]
            if verdicts:
                points.append(Point(f"{asked.title}, the others' model against {told}", "", verdicts))
    return points


def _site_by_site(data: StudyData, asked: Asked, a: tuple[str, str], b: tuple[str, str]) -> dict[str, Paired]:
    found = {site: data.answers.versus(a, b, asked.metric, (site,)) for site in data.trained}
    return {site: one for site, one in found.items() if one and one.value is not None}


def _mean_difference(data: StudyData, a: str, b: str) -> str:
    found = data.answers.versus((data.subject, a), (data.subject, b), AUROC.metric, data.trained)
    if found is None or found.value is None:
        return "Not estimable."
    return f"{data.subject}, {a} minus {b}, mean over sites: {_difference(found)} in {AUROC.title}."


def _difference(found: Estimate) -> str:
    return replace(Cell.of(found), signed=True).text


def inner(found: Estimate) -> str:
    """A difference for within brackets."""
    return _difference(found).replace(" (", ", ").removesuffix(")")
