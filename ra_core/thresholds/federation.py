"""From histograms of sites to the thresholds and figures of a federation; the order of the sites doesn't matter."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ra_core.thresholds.conformal import Promise, conformal_threshold, patients_needed, rank
from ra_core.thresholds.drift import Drift, drift
from ra_core.thresholds.figures import Binned, auprc, auroc, rate_above, share_interval, within_sites
from ra_core.thresholds.histogram import Histogram, edge_above, merged
from ra_core.thresholds.record import ACROSS_SITES, WITHIN_SITES, Achieved, Figure, Metric, SiteThresholds
from ra_core.thresholds.shrinkage import FEWEST, Reference, consortium, shrunken
from ra_core.thresholds.units import Unit

__all__ = ["ByClass", "false_alarms", "figures", "reference_of", "thresholds"]

ACROSS = "across sites: all patients as if of one site, so what scanners differ in is in it"
ACROSS_OWN = "across sites: patients of sites with a threshold, each held against that of the own site"
NOT_ESTIMABLE = "not estimable: "
"""How a note begins where there is no number."""


class ByClass(NamedTuple):
    """What a site has told of its test patients.

    Attributes:
        healthy, anomalous: histograms of their scores.
        threshold: the site's, one of the published edges; None where it has none.
    """

    healthy: Histogram
    anomalous: Histogram
    threshold: float | None


def reference_of(histograms: Mapping[str, Histogram], rate: float) -> Reference | None:
    """What healthy scores of all sites say together, each taken as the end of its cell; None where no site has 4.

    Sites with scores above all edges are left out.
    """
    scores = (found.highest() for _, found in sorted(histograms.items()) if found.n >= FEWEST)
    known = [found for found in scores if math.isfinite(found[-1])]
    return consortium(known, rate) if known else None


def thresholds(
    histograms: Mapping[str, Histogram], reference: Reference | None, rate: float, unit: Unit
) -> tuple[SiteThresholds, ...]:
    """Each site's local and shrunken threshold, sorted by site; both are published edges.

    Args:
        histograms: of each site's healthy patients.
        reference: as `reference_of` gives it.
        rate: of false alarms asked.
        unit: of the scores.
    """
    return tuple(
        SiteThresholds(
            site=site,
            local=_local(found, rate, unit),
            shrunken=_shrunken_edge(found.highest(), reference),
            drift=_drift(found, (other for name, other in histograms.items() if name != site)),
        )
        for site, found in sorted(histograms.items())
    )


def _shrunken_edge(scores: NDArray[np.float64], reference: Reference | None) -> float | None:
    """A site's shrunken threshold, rounded up to a published edge; None where there is none, or above all edges."""
    between = shrunken(scores, reference) if reference else None
    edge = math.inf if between is None else edge_above(between)
    return edge if math.isfinite(edge) else None


def _local(found: Histogram, rate: float, unit: Unit) -> Promise:
    """The site's own threshold; where it ends the joined cell of the highest score, an outlier there drags it."""
    promise = conformal_threshold(found.highest(), rate, unit)
    if promise.value is None:
        return promise
    first, last, count = found.cells[-1]
    if first == last or rank(found.n, rate) <= found.n - count:
        return promise
    enough = patients_needed(rate, outliers=count)
    note = f"rests on the joined cell of the {count} highest scores: {enough} patients would bear an outlier there"
    return promise.model_copy(update={"note": note})


def figures(tested: Mapping[str, ByClass], untold: Mapping[str, str]) -> tuple[Figure, ...]:
    """Accuracy at each site, within sites and across sites; none where no site has told of test patients.

    Args:
        tested: sites that have.
        untold: why others have not: there a figure is not estimable, and says why.
    """
    if not tested:
        return ()
    healthy, anomalous = (merged(getattr(site, kind) for site in tested.values()) for kind in ("healthy", "anomalous"))
    of_classes: dict[Metric, Callable[[Histogram, Histogram], Binned]] = {"auroc": auroc, "auprc": auprc}
    found = [
        figure
        for name, number in of_classes.items()
        for figure in _figures(
            name,
            {site: number(one.healthy, one.anomalous) for site, one in tested.items()},
            untold,
            number(healthy, anomalous),
            ACROSS,
            [site for site, one in tested.items() if one.healthy.n or one.anomalous.n],
        )
    ]
    detected = {name: _detected(site) for name, site in tested.items()}
    across = _detected_across(tested.values())
    return *found, *_figures("detection_rate", detected, untold, across, ACROSS_OWN, _known(detected))


def false_alarms(rates: Mapping[str, Achieved], untold: Mapping[str, str]) -> tuple[Figure, ...]:
    """Rates of false alarms at each site, within and across sites; none where no site has told its own.

    Args:
        rates: at the sites' own thresholds.
        untold: why others have told none: there the rate is not estimable, and says why.
    """
    if not rates:
        return ()
    by_site = {site: _share(one.above, one.n) for site, one in rates.items()}
    across = _share(sum(one.above for one in rates.values()), sum(one.n for one in rates.values()))
    return _figures("false_alarm_rate", by_site, untold, across, ACROSS_OWN, _known(by_site))


def _figures(
    metric: Metric,
    by_site: Mapping[str, Binned],
    untold: Mapping[str, str],
    across: Binned,
    how: str,
    behind: Collection[str],
) -> tuple[Figure, ...]:
    """At each site, within and across sites.

    Args:
        metric: of all of them.
        by_site: numbers of sites that have told what it takes.
        untold: why others have not.
        across: the number across sites.
        how: that was made.
        behind: sites whose patients are in it.
    """
    lacking = {
        site: Binned(value=None, n_healthy=0, n_anomalous=0, note=f"{NOT_ESTIMABLE}{why}")
        for site, why in untold.items()
    }
    all_sites = {**by_site, **lacking}
    numbers = [
        *sorted(all_sites.items()),
        (WITHIN_SITES, within_sites(all_sites)),
        (ACROSS_SITES, _noted(across, f"{how}; {_whose(all_sites, behind)}")),
    ]
    return tuple(Figure(metric=metric, where=where, number=number) for where, number in numbers)


def _known(by_site: Mapping[str, Binned]) -> list[str]:
    return [site for site, number in by_site.items() if number.value is not None]


def _whose(by_site: Mapping[str, Binned], behind: Collection[str]) -> str:
    """Whose patients a number across sites is of, which of these sites have one class alone, and who is left out."""
    lacks = {
        site: f"{site} ({number.note.removeprefix(NOT_ESTIMABLE)})"
        for site, number in sorted(by_site.items())
        if number.value is None
    }
    parts = {
        "of": sorted(behind),
        "one class alone at": [told for site, told in lacks.items() if site in behind],
        "left out": [told for site, told in lacks.items() if site not in behind],
    }
    return "; ".join(f"{what} {', '.join(names)}" for what, names in parts.items() if names)


def _drift(found: Histogram, others: Iterable[Histogram]) -> Drift | None:
    reference = merged(others)
    return drift(reference, found) if reference.n and found.n else None


def _detected(site: ByClass) -> Binned:
    if site.threshold is None:
        return _undetected(site.anomalous.n, "no shrunken threshold")
    return rate_above(site.anomalous, site.threshold, anomalous=True)


def _detected_across(sites: Iterable[ByClass]) -> Binned:
    """Each patient held against the threshold of the own site."""
    able = [(site.anomalous, site.threshold) for site in sites if site.threshold is not None]
    n = sum(found.n for found, _ in able)
    if not n:
        return _undetected(0, "no anomalous patients where there is a shrunken threshold")
    fewest, most = (sum(counts) for counts in zip(*(found.above(edge) for found, edge in able), strict=True))
    middle = (fewest + most) / 2
    low, high = share_interval(middle, n)
    return Binned(value=middle / n, bound=(most - fewest) / 2 / n, low=low, high=high, n_healthy=0, n_anomalous=n)


def _undetected(n: int, why: str) -> Binned:
    return Binned(value=None, n_healthy=0, n_anomalous=n, note=f"{NOT_ESTIMABLE}{why}")


def _share(above: int, n: int) -> Binned:
    low, high = share_interval(above, n)
    return Binned(value=above / n, low=low, high=high, n_healthy=n, n_anomalous=0)


def _noted(number: Binned, note: str) -> Binned:
    if number.value is None:
        return number
    return number.model_copy(update={"note": "; ".join(filter(None, (note, number.note)))})
