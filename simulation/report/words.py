"""The report's sentences, made from its numbers: what was done, how it compares, who was missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ra_core.words import counted, listed
from simulation.report.cells import Verdict, compare
from simulation.report.findings import Findings, Line, Place

__all__ = ["Comparison", "capital", "comparisons", "headline", "introduction"]


@dataclass(frozen=True)
class Comparison:
    """A sentence on our model against another method, and its verdict where there is one for all sites."""

    rival: str
    verdict: Verdict | None
    text: str


def introduction(findings: Findings) -> str:
    """What was trained on whom and measured where."""
    data, ours = findings.data, findings.ours
    trained = [site for site in data.sites if site.role == "trained"]
    out = [site for site in data.sites if site.role == "held out"]
    learnt = sum(site.n_train for site in trained)
    healthy, sick = (sum(getattr(site, name) for site in data.sites) for name in ("n_test_healthy", "n_test_anomalous"))
    among = ours.train_sites if ours.kind == "local" else counted(len(trained), "site")
    sentences = [
        f"A Reversed Autoencoder (RA, {ours.name}) was trained on healthy images of {among} for "
        f"{counted(ours.steps, 'step')}; the weights of {ours.selected} were kept.",
        f"The sites trained on have {counted(learnt, 'healthy training image')} in all.",
    ]
    others = [arm.name for arm in data.arms if arm is not ours]
    if others:
        sentences.append(
            f"For comparison RA was also trained in {counted(len(others), 'other way')}: {listed(others)}."
        )
    sentences.append(
        f"All was tested on {healthy:,} healthy and {counted(sick, 'sick image')} of "
        f"{counted(len(data.sites), 'site')}"
        + (
            f", of which {listed([site.name for site in out])} had no part in federated or pooled training."
            if out
            else "."
        )
    )
    return " ".join(sentences)


def headline(findings: Findings, metric: str) -> str:
    """Our model's figures: on average where there is one, else at each site."""
    told = _figures(findings, metric, findings.averages) or _figures(findings, metric, findings.sites)
    return f"RA, {findings.ours.name}: {'; '.join(told) or 'not estimable'}."


def _figures(findings: Findings, metric: str, places: Sequence[Place]) -> list[str]:
    cells = ((place, findings.our(place, metric)) for place in places)
    return [f"{cell.text} {place.at}" for place, cell in cells if cell and cell.value is not None]


def comparisons(findings: Findings, metric: str) -> list[Comparison]:
    """One sentence for each method that our model is compared with and that has this metric."""
    found = (_comparison(findings, metric, line) for line in findings.rivals())
    return [comparison for comparison in found if comparison]


def _comparison(findings: Findings, metric: str, line: Line) -> Comparison | None:
    overall: Verdict | None = None
    by_site: dict[Verdict, list[str]] = {}
    sentences: list[str] = []
    for place in findings.places:
        ours, theirs = findings.our(place, metric), line.find(place.name, metric, "all")
        if ours is None or theirs is None:
            continue
        verdict = compare(ours, theirs)
        if place.kind != "average":
            by_site.setdefault(verdict, []).append(place.name)
            continue
        overall = overall or verdict
        named = f" ({theirs.extra})" if theirs.extra else ""
        sentences.append(f"{verdict.value} {place.at}, against {theirs.text}{named}.")
    if by_site:
        told = [f"{v.value} at {listed(by_site[v])}" for v in Verdict if v in by_site]
        sentences.append(f"Site by site: {'; '.join(told)}.")
    if not sentences:
        return None
    alone = next(iter(by_site)) if len(by_site) == 1 else None
    return Comparison(line.label, overall or alone, " ".join(capital(sentence) for sentence in sentences))


def capital(text: str) -> str:
    """The same with a capital to begin with."""
    return text[:1].upper() + text[1:]
