"""What a site's policy lets out of histograms and of counts above thresholds. Nothing here depends on a score."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

from ra_core.config import PolicyConfig, StudyConfig
from ra_core.messages import ABSENT, CheckReply, HistogramReply
from ra_core.thresholds import Histogram

__all__ = ["least_count", "narrowed", "why_no_histograms", "why_no_tests", "why_too_few", "why_too_small"]

_NONE = Histogram(())
_WAYS = ("shrunken", "local", "pooled")
"""Thresholds in the order in which their counts are let out, as long as the cells between them stay large enough."""

_TOO_FINE = "its policy lets no such small counts out (policy.min_count, policy.min_cell)"


def least_count(policy: PolicyConfig) -> int:
    """Smallest count of a cell, or of patients above a threshold, that may leave."""
    return max(policy.min_cell, policy.min_count)


def why_too_small(policy: PolicyConfig, trained_on: int) -> str:
    """Why a site with so many patients in training tells nothing about scores; empty where it isn't too small."""
    return "" if trained_on >= policy.min_patients else "it has fewer patients in training (policy.min_patients)"


def why_too_few(policy: PolicyConfig, patients: int) -> str:
    """Why nothing is told of the scores of so few patients; empty where they are enough.

    It is asked before any of them is scored: a server makes the model, and chooses by it which scores are out of range.
    """
    enough = patients >= least_count(policy)
    return "" if enough else "it has fewer patients than its policy lets out (policy.min_count, policy.min_cell)"


def why_no_histograms(policy: PolicyConfig, study: StudyConfig) -> str:
    """Why nothing about scores may leave; empty where it may. No count of the site is in it."""
    if policy.histograms == "none":
        return "its policy lets no histograms out (policy.histograms)"
    if study.dp and "histograms" not in policy.dp_tells:
        return "its policy lets no histograms out that no epsilon covers (policy.dp_tells)"
    return ""


def why_no_tests(policy: PolicyConfig, study: StudyConfig) -> str:
    """Why nothing about test patients may leave; empty where it may."""
    if why := why_no_histograms(policy, study):
        return why
    return (
        "" if policy.histograms == "all" else "its policy lets no histograms of test patients out (policy.histograms)"
    )


def narrowed(
    reply: HistogramReply | CheckReply, study: StudyConfig, policy: PolicyConfig
) -> tuple[HistogramReply | CheckReply, list[str]]:
    """What may leave of a reply, in cells as large as the policy wants them; and what may not, and why."""
    if isinstance(reply, HistogramReply):
        return _scores(reply, study, policy)
    counts, withheld = _counts(reply, study, policy)
    tests, more = _tests(reply, study, policy)
    return replace(reply, **counts, **tests), [*withheld, *more]


def _scores(reply: HistogramReply, study: StudyConfig, policy: PolicyConfig) -> tuple[HistogramReply, list[str]]:
    why = reply.withheld or why_no_histograms(policy, study) or why_too_few(policy, reply.n)
    if why:
        return replace(reply, n=0, withheld=why, scores=_NONE), [f"histogram: {why}"]
    return replace(reply, scores=_coarse(reply.scores, policy)), []


def _counts(reply: CheckReply, study: StudyConfig, policy: PolicyConfig) -> tuple[dict[str, Any], list[str]]:
    """Counts above thresholds are those of cells between them: each cell is empty or large enough."""
    why = reply.withheld or why_no_histograms(policy, study) or why_too_few(policy, reply.n)
    counts = {way: getattr(reply, f"above_{way}") for way in _WAYS}
    told: dict[str, int] = {}
    for way, count in counts.items() if not why else ():
        marks = sorted([0, reply.n, *told.values(), count])
        if count != ABSENT and all(b == a or b - a >= least_count(policy) for a, b in pairwise(marks)):
            told[way] = count
    if not why and any(count != ABSENT and way not in told for way, count in counts.items()):
        why = _TOO_FINE
    fields = {f"above_{way}": told.get(way, ABSENT) for way in _WAYS} | {"n": reply.n if told else 0, "withheld": why}
    return fields, [f"counts above thresholds: {why}"] if why else []


def _tests(reply: CheckReply, study: StudyConfig, policy: PolicyConfig) -> tuple[dict[str, Any], list[str]]:
    why = reply.withheld_test or why_no_tests(policy, study)
    both = {"healthy": reply.healthy, "anomalous": reply.anomalous}
    if not why:
        why = next((few for found in both.values() if found.n and (few := why_too_few(policy, found.n))), "")
    if why:
        return dict.fromkeys(both, _NONE) | {"withheld_test": why}, [f"histograms of test patients: {why}"]
    return {name: _coarse(found, policy) for name, found in both.items()}, []


def _coarse(found: Histogram, policy: PolicyConfig) -> Histogram:
    """Each score as the edge that its cell ends at lies in the same cell again."""
    return Histogram.of(found.highest(), least_count(policy))
