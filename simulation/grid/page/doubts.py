"""What limits what a study's numbers say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ra_core.words import listed
from simulation.grid.page.chapter import WAYS
from simulation.grid.page.data import StudyData
from simulation.grid.page.methods import lost
from simulation.grid.page.numbers import ALIKE, HEADLINES, measured
from simulation.grid.page.scorings import scored_apart
from simulation.grid.page.words import inner
from simulation.grid.paired import FEW_FOR_EQUIVALENCE, FEW_TO_JUDGE, Paired, Verdict
from simulation.report.doubts import QUESTIONS, borrowed

__all__ = ["doubts"]

MANY = 2
"""Seeds from which on their spread is known."""


def doubts(data: StudyData) -> list[str]:
    """All that is to be told."""
    found = [*_few(data), *lost(data), *_classical(data), *_choice(data), *_apart(data), *_chance(data)]
    found += borrowed(data.sites.facts)
    return [*found, *_machines(data), *_always(data)]


def _few(data: StudyData) -> Iterator[str]:
    few = [
        f"{site} ({healthy} healthy, {sick} sick)"
        for site, (healthy, sick) in data.sites.patients.items()
        if min(healthy, sick) < FEW_FOR_EQUIVALENCE
    ]
    if few:
        yield (
            f"Few test patients at {listed(few)}: intervals are wide, and “inconclusive” there is no sign of equality."
        )


def _classical(data: StudyData) -> Iterator[str]:
    """Where a method that learns no anatomy is as good."""
    ours, answers = data.subject, data.answers
    for asked in measured(data, HEADLINES):
        told = []
        for name in (name for name in data.methods if name in data.classical):
            found = {arm: answers.versus((ours, arm), (name, arm), asked.metric, data.trained) for arm in WAYS}
            told += [f"{name} ({listed(even)})"] if (even := [arm for arm, one in found.items() if _even(one)]) else []
        for name in answers.shortcuts:
            one = answers.versus_shortcut((ours, data.arm_of(ours)), name, asked.metric, data.trained)
            told += [f"the shortcut of {name}"] if _even(one) else []
        if told:
            yield (
                f"In {QUESTIONS[asked.metric]}, {ours} is not shown to be better than {listed(told)}: that it "
                "knows more of anatomy is not shown."
            )


def _even(found: Paired | None) -> bool:
    return found is not None and found.value is not None and Verdict.of(found) is not Verdict.better


def _choice(data: StudyData) -> Iterator[str]:
    """Where a fixed scoring would have been better than the one chosen on synthetic anomalies."""
    told, model = [], (data.subject, data.arm_of(data.subject))
    for site in data.trained:
        for asked in ALIKE:
            scoring = asked.scoring_of(data.plain(data.subject))
            one = data.answers.versus(model, model, asked.metric, (site,), (scoring, None))
            if one and one.value is not None and Verdict.of(one) is Verdict.better:
                told.append(f"{site} ({scoring}: {inner(one)})")
    if told:
        yield (
            f"Synthetic anomalies choose the scoring and know nothing of any disease: {data.subject}, {model[1]}, "
            f"has a higher image AUROC with a fixed one at {listed(told)}."
        )


def _apart(data: StudyData) -> Iterator[str]:
    """Where two ways to train differ by their scoring too."""
    told = []
    for site, ways in scored_apart(data).items():
        each = [f"{listed(arms)} by {scoring}" for scoring, arms in ways.items()]
        told.append(f"{site} ({'; '.join(each)})")
    if told:
        yield (
            f"{data.subject} is scored differently from one way to train to another at {listed(told)}: differences "
            "between ways to train there are those of scorings too."
        )


def _chance(data: StudyData) -> Iterator[str]:
    arm = data.arm_of(data.subject)
    found = {site: data.answers.at(data.subject, arm, site, "auroc") for site in data.sites.patients}
    names = [site for site, one in found.items() if one and one.ci_low is not None and one.ci_low <= 0.5]
    if names:
        yield f"{data.subject}, {arm}, has an image AUROC that its interval can't tell from chance at {listed(names)}."


def _machines(data: StudyData) -> Iterator[str]:
    machines = Counter(
        ", ".join(str(result.machine.get(name, "")) for name in ("processor", "device", "precision"))
        for result in data.results
    )
    if len(machines) > 1:
        told = [f"{name} ({count} cells)" for name, count in sorted(machines.items())]
        yield f"Cells come from {len(machines)} kinds of machine, so small differences may be theirs: {listed(told)}."


def _always(data: StudyData) -> Iterator[str]:
    trained = {(name, arm) for name in data.methods for arm in data.answers.arms if data.has(name, arm)}
    one = [model for model in trained if len(data.answers.seeds(*model)) < MANY]
    if one:
        yield (
            f"{len(one)} of {len(trained)} combinations of method and way to train "
            "have one seed: how much another would change is not known there."
        )
    if len(data.seeds) > 1:
        yield "Intervals are of patients only: numbers are averaged over seeds, and no interval has the seeds' spread."
    small = [
        site
        for site in data.trained
        if len(data.trained) > 1 and min(data.sites.patients[site]) < FEW_TO_JUDGE and any(data.sites.patients[site])
    ]
    if small:
        yield (
            f"Means over sites have few patients in them at {listed(small)}: “better” and “worse” are said of them too "
            "easily. In a simulation of four sites with 4 to 10 patients, 8 of 100 intervals of 95 % left out 0 where "
            "nothing differed, not 5."
        )
    confidence = data.config.study.evaluation.confidence
    yield (
        f"Nothing is corrected for the number of comparisons: of {round(1 / (1 - confidence))} differences that are "
        f"none, about one interval of {100 * confidence:g} % leaves out 0."
    )
