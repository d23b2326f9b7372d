"""What speaks against the model that a report is about, or limits what its numbers say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ra_core.words import listed
from server.rounds.outcome import absences
from simulation.report.cells import Verdict, compare
from simulation.report.data import SiteFacts
from simulation.report.findings import PAPER, Findings
from simulation.report.words import capital

__all__ = ["QUESTIONS", "borrowed", "doubts"]

QUESTIONS = {
    "pixel_auprc": "finding the place of a lesion",
    "box_auroc": "marking what boxes are around",
    "auroc": "telling sick images from healthy ones",
}


def doubts(findings: Findings) -> list[str]:
    """What speaks against our model or limits what the numbers say."""
    found = [
        *_lost(findings),
        *_chance(findings),
        *_choice(findings),
        *_alarms(findings),
        *_not_estimable(findings),
        *borrowed(findings.data.sites),
    ]
    seeds = sorted({row.seed for row in findings.data.rows})
    if len(seeds) == 1:
        found.append(f"There is one seed ({seeds[0]}): how much another seed would change is not known.")
    if absences(findings.ours.rounds):
        found.append("Not every site took part in every round; who and why stands below.")
    return found


def _lost(findings: Findings) -> Iterator[str]:
    """Where another method is better, and where one that has learnt no anatomy is as good."""
    ours = f"RA, {findings.ours.name},"
    for metric, question in QUESTIONS.items():
        even = []
        for line in findings.rivals():
            found = {place: line.find(place.name, metric, "all") for place in findings.sites}
            verdicts = {place: compare(findings.our(place, metric), cell) for place, cell in found.items()}
            lost = [f"{p.name} ({cell.text})" for p, cell in found.items() if cell and verdicts[p] is Verdict.WORSE]
            if lost:
                yield f"In {question}, {line.label} is better than {ours} at {listed(lost)}."
            alike = [place.name for place, verdict in verdicts.items() if verdict is Verdict.ALIKE]
            if alike and line.kind != "ra":
                even.append(f"from {line.label} at {listed(alike)}")
        if even:
            yield f"In {question}, {ours} can't be told {'; '.join(even)}: that it knows more is not shown there."


def _chance(findings: Findings) -> Iterator[str]:
    found = ((place, findings.our(place, "auroc")) for place in findings.sites)
    names = [place.name for place, cell in found if cell and cell.ends and cell.ends[0] <= 0.5]
    if names:
        yield f"The image AUROC is not above chance (0.5) by more than its interval at {listed(names)}."


def _choice(findings: Findings) -> Iterator[str]:
    for metric, question in QUESTIONS.items():
        told = []
        for place in findings.sites:
            ours = findings.our(place, metric)
            paper = findings.ra(findings.ours, place.name, metric, scoring=PAPER)
            if ours and paper and (paper.value or 0) > (ours.value or 0):
                told.append(f"{place.name} ({paper.text} against {ours.text}, {compare(paper, ours).value})")
        if told:
            yield f"The paper's scoring has a higher value than the chosen one in {question} at {listed(told)}."


def _alarms(findings: Findings) -> Iterator[str]:
    aim = float(findings.study["evaluation"]["image_fpr"])
    for place in findings.sites:
        cell = findings.our(place, "false_alarm_rate")
        if cell and cell.ends and cell.ends[0] > aim:
            yield f"At {place.name} there are more false alarms than the {aim:.0%} aimed at: {cell.text}."


def _not_estimable(findings: Findings) -> Iterator[str]:
    for metric, question in QUESTIONS.items():
        found = ((place, findings.our(place, metric)) for place in findings.sites)
        told = [f"{place.name} ({cell.note})" for place, cell in found if cell and cell.value is None]
        if told:
            yield f"{capital(question)} can't be measured at {listed(told)}."


def borrowed(sites: Iterable[SiteFacts]) -> Iterator[str]:
    """Whose healthy images stand for a site's own."""
    for site in sites:
        if site.reference != site.name:
            yield (
                f"{site.name} has no healthy images of its own to go by: thresholds and baselines are those of "
                f"{site.reference}, and a difference may be one between the sites."
            )
