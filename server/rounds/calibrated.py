"""What sites have told of scores, judged, and made into the record that a model's card holds."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from ra_core.config import StudyConfig
from ra_core.messages import ABSENT, CheckReply, HistogramReply
from ra_core.models.registry import build_method
from ra_core.thresholds import EDGES, Histogram, merged
from ra_core.thresholds.federation import ByClass, false_alarms, figures, reference_of, thresholds
from ra_core.thresholds.record import WAYS, Achieved, FederatedCalibration, SiteThresholds, Way

__all__ = ["check_problem", "completed", "histogram_problem", "in_words", "places_of", "uncompleted"]

Places = Mapping[str, int]
"""Of a site's thresholds among the published edges; `ABSENT` where there is none."""


def histogram_problem(reply: HistogramReply, most: int) -> str:
    """Why a reply can't be true; empty where it can.

    Args:
        reply: of a site.
        most: patients that it can have at all.
    """
    if reply.n != reply.scores.n:
        return "says another number of patients than its histogram has"
    if reply.withheld and reply.n:
        return "withholds a histogram, and tells one"
    return "" if reply.n <= most else "tells of more patients than it can have"


def check_problem(reply: CheckReply, places: Places, most: int) -> str:
    """The same of a reply to thresholds at these places."""
    if any(getattr(reply, way) != places[way] for way in WAYS):
        return "answers other thresholds"
    counts = {way: getattr(reply, f"above_{way}") for way in WAYS}
    if not all(
        ABSENT <= count <= reply.n and (places[way] != ABSENT or count == ABSENT) for way, count in counts.items()
    ):
        return "its counts above thresholds can't be true"
    told = [(places[way], count) for way, count in counts.items() if count != ABSENT]
    if any(more > fewer and low <= high for (low, fewer), (high, more) in product(told, repeat=2)):
        return "has more patients above a higher threshold"
    if reply.withheld_test and (reply.healthy.n or reply.anomalous.n):
        return "withholds histograms of test patients, and tells them"
    largest = max(reply.n, reply.healthy.n, reply.anomalous.n)
    return "" if largest <= most else "tells of more patients than it can have"


def uncompleted(study: StudyConfig, histograms: Mapping[str, Histogram], network: str) -> FederatedCalibration:
    """Thresholds of all sites, before anybody has tried them.

    Args:
        study: that asks for calibration.
        histograms: of healthy patients of the first halves, by site.
        network: SHA-256 of the perceptual network behind the scores, as sites tell it.

    Raises:
        ConfigError: the method has no such scoring.
        ValueError: the study asks for no calibration.
    """
    if study.calibration is None:
        raise ValueError("the study asks for no calibration")
    rate, unit = study.evaluation.image_fpr, study.calibration.unit
    method = build_method(study.method, study.preprocessing.size, study.seed)
    scoring, reference = study.calibration.scoring_of(method.scorings), reference_of(histograms, rate)
    return FederatedCalibration(
        scoring=scoring,
        unit=unit,
        rate=rate,
        reference_images=study.evaluation.reference_images if scoring.standardise else None,
        perceptual_net=study.perceptual.net if scoring.is_perceptual else None,
        network=network if scoring.is_perceptual else "",
        reference=reference,
        healthy=merged(histograms.values()).cells,
        sites=thresholds(histograms, reference, rate, unit),
    )


def places_of(site: SiteThresholds, found: FederatedCalibration) -> dict[str, int]:
    """Where a site's thresholds are among the published edges."""
    return {way: ABSENT if edge is None else int(EDGES.searchsorted(edge)) for way, edge in _edges(site, found).items()}


def completed(
    found: FederatedCalibration,
    checks: Mapping[str, CheckReply],
    unchecked: Mapping[str, str],
    absent: Mapping[str, str],
) -> FederatedCalibration:
    """With rates that were achieved, and figures.

    Args:
        found: thresholds.
        checks: answers to these, by site.
        unchecked: why sites with thresholds gave no such answer.
        absent: why others have no thresholds.
    """
    sites = tuple(
        site.model_copy(update={"achieved": _achieved(site, found, checks[site.site])}) if site.site in checks else site
        for site in found.sites
    )
    shrunken = {site.site: site.shrunken for site in sites}
    lacking = {site.site: _lacking(site, found) for site in sites}
    why = dict(unchecked) | {site: _why(reply) for site, reply in checks.items() if lacking[site]}
    tested = {
        site: ByClass(reply.healthy, reply.anomalous, shrunken[site])
        for site, reply in checks.items()
        if not reply.withheld_test
    }
    untold = dict(absent) | dict(unchecked)
    untold |= {site: reply.withheld_test for site, reply in checks.items() if reply.withheld_test}
    rates = {site.site: site.achieved["shrunken"] for site in sites if "shrunken" in site.achieved}
    untried = [site.site for site in sites if site.site not in rates]
    no_rate = dict(absent) | {
        site: _NO_SHRUNKEN if shrunken[site] is None else why.get(site, _UNSAID) for site in untried
    }
    rateless = {site: f"{lacking[site] or _NO_RATES}: {reason}" for site, reason in why.items()}
    return found.model_copy(
        update={
            "sites": sites,
            "figures": figures(tested, untold) + false_alarms(rates, no_rate),
            "absent": dict(sorted((dict(absent) | rateless).items())),
        }
    )


def in_words(found: FederatedCalibration) -> dict[str, str]:
    """For each site with thresholds, how many healthy patients were above the shrunken one; or that it has none."""
    told = {}
    for site in found.sites:
        seen = site.achieved.get("shrunken")
        if site.shrunken is None:
            told[site.site] = "no threshold, too few patients"
        else:
            told[site.site] = f"{seen.above} of {seen.n} above" if seen else "not tried"
    return told


_NO_SHRUNKEN = "no count of patients above a shrunken threshold"
_NOBODY = "no patients are left to try thresholds on"
_UNSAID = "it doesn't say why"
_NO_RATES = "no achieved rates"


def _why(reply: CheckReply) -> str:
    """Why a site has not told a count of thresholds that it has."""
    return reply.withheld or (_UNSAID if reply.n else _NOBODY)


def _lacking(site: SiteThresholds, found: FederatedCalibration) -> str:
    """Which achieved rates a site has not; empty where it has one for each threshold."""
    ways = [way for way, edge in _edges(site, found).items() if edge is not None and way not in site.achieved]
    return ("no rates of " + ", ".join(ways) if site.achieved else _NO_RATES) if ways else ""


def _edges(site: SiteThresholds, found: FederatedCalibration) -> dict[Way, float | None]:
    pooled = found.reference.pooled if found.reference else None
    return {"local": site.local.value, "pooled": pooled, "shrunken": site.shrunken}


def _achieved(site: SiteThresholds, found: FederatedCalibration, reply: CheckReply) -> dict[Way, Achieved]:
    edges = _edges(site, found)
    counts = {way: getattr(reply, f"above_{way}") for way in WAYS}
    return {
        way: Achieved.of(edge, counts[way], reply.n)
        for way, edge in edges.items()
        if edge is not None and counts[way] != ABSENT and reply.n
    }
