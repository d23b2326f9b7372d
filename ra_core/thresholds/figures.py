"""AUROC, average precision and rates from histograms, as near as the cells allow, and how near that is.

Each number comes with what binning can have moved it by: the exact one, of the scores themselves, is within that bound.
Intervals are of sampling alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import betaincinv, ndtri

from ra_core.settings import Config
from ra_core.thresholds.conformal import CONFIDENCE
from ra_core.thresholds.histogram import Histogram

__all__ = ["Binned", "auprc", "auroc", "rate_above", "share_interval", "within_sites"]

Z = float(ndtri(0.5 + CONFIDENCE / 2))
"""Standard errors to either side of a value."""

NO_SPREAD = "the interval means nothing: these patients show no spread"


class Binned(Config):
    """A number from histograms.

    Attributes:
        value: None where it is undefined; `note` says why.
        bound: the number of the scores themselves is at most so far away.
        low, high: 95 % interval for sampling patients; binning comes on top.
        n_healthy, n_anomalous: patients behind it.
        note: what a reader has to know.
    """

    value: float | None
    bound: float = Field(0.0, ge=0)
    low: float | None = None
    high: float | None = None
    n_healthy: int
    n_anomalous: int
    note: str = ""


def auroc(healthy: Histogram, anomalous: Histogram) -> Binned:
    """Chance that a sick patient scores higher than a healthy one, ties as half; the interval is of DeLong et al. 1988.

    Pairs whose cells overlap can have any order, so the exact value lies within half their share.
    """
    if lack := _lacking(healthy, anomalous):
        return lack
    (h_first, h_last, h), (a_first, a_last, a) = healthy.columns(), anomalous.columns()
    above = a_first[:, None] > h_last
    unsure = ~above & (a_last[:, None] >= h_first)
    won = above + unsure / 2
    n, m = healthy.n, anomalous.n
    value, bound = (float((a @ pairs @ h) / (n * m)) for pairs in (won, unsure / 2))
    se = math.sqrt(_variance(won @ h / n, a) / m + _variance(a @ won / m, h) / n)
    note = NO_SPREAD if se == 0 else "" if min(n, m) > 1 else "the interval is too narrow: one patient of a class"
    low, high = max(0.0, value - Z * se), min(1.0, value + Z * se)
    return Binned(value=value, bound=bound, low=low, high=high, n_healthy=n, n_anomalous=m, note=note)


def auprc(healthy: Histogram, anomalous: Histogram) -> Binned:
    """Average precision, a sum over recall steps of precision; the interval is logit-normal (Boyd et al. 2013).

    The lowest that it can be has every healthy patient at the upper end of the cell and every sick one at the lower
    end, one after another; the highest has every healthy one at the lower end, and every sick one where it suits best.
    The value is the middle of the two.
    """
    if lack := _lacking(healthy, anomalous):
        return lack
    m = anomalous.n
    lowest, highest = _lowest_precision(healthy, anomalous), _highest_precision(healthy, anomalous)
    value, bound = (highest + lowest) / 2, max(0.0, highest - lowest) / 2
    counts = {"n_healthy": healthy.n, "n_anomalous": m}
    if value >= 1:
        return Binned(value=value, bound=bound, low=value, high=value, note=NO_SPREAD, **counts)
    logit, half = math.log(value / (1 - value)), Z / math.sqrt(m * value * (1 - value))
    low, high = (1 / (1 + math.exp(-(logit + sign * half))) for sign in (-1, 1))
    return Binned(value=value, bound=bound, low=low, high=high, **counts)


def _lowest_precision(healthy: Histogram, anomalous: Histogram) -> float:
    (_, h_last, h), (a_first, _, a) = healthy.columns(), anomalous.columns()
    wrong = np.repeat((h_last >= a_first[:, None]) @ h, a)[::-1]
    hits = np.arange(1, len(wrong) + 1)
    return float((hits / (hits + wrong)).mean())


def _highest_precision(healthy: Histogram, anomalous: Histogram) -> float:
    """Of each sick one the best precision at any place where it may be.

    At a place in cell c, at most those count as found whose cells reach up to c, and at least those healthy ones as
    wrong whose cells begin above it. From one upper end of sick ones' cells down to the next, the first number stays
    and the second can only grow: the best places are at such ends.
    """
    (h_first, _, h), (a_first, a_last, a) = healthy.columns(), anomalous.columns()
    hits = (a_last >= a_last[:, None]) @ a
    precision = hits / (hits + (h_first > a_last[:, None]) @ h)
    may_be = (a_first[:, None] <= a_last) & (a_last <= a_last[:, None])
    return float(np.where(may_be, precision, 0).max(1) @ a / anomalous.n)


def rate_above(histogram: Histogram, edge: float, *, anomalous: bool = False) -> Binned:
    """Share of patients above an edge; the interval is exact (Clopper and Pearson 1934).

    Args:
        histogram: of healthy patients, or of sick ones.
        edge: one of the published edges, or else the bound grows by what the cell around it holds.
        anomalous: whether they are sick; decides only as what they are counted.
    """
    n = histogram.n
    counts = {"n_healthy": 0 if anomalous else n, "n_anomalous": n if anomalous else 0}
    if not n:
        return Binned(
            value=None, note=f"not estimable: no {'anomalous' if anomalous else 'healthy'} patients", **counts
        )
    fewest, most = histogram.above(edge)
    low, high = share_interval((fewest + most) / 2, n)
    return Binned(value=(fewest + most) / 2 / n, bound=(most - fewest) / 2 / n, low=low, high=high, **counts)


def share_interval(count: float, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Interval of Clopper and Pearson (1934) for a share of which `count` of n were seen."""
    tail = (1 - confidence) / 2
    low = float(betaincinv(count, n - count + 1, tail)) if count > 0 else 0.0
    high = float(betaincinv(count + 1, n - count, 1 - tail)) if count < n else 1.0
    return low, high


def within_sites(by_site: Mapping[str, Binned]) -> Binned:
    """Mean over sites, each counting the same: how well anomalies are told apart within a hospital.

    Sites where the number is not estimable are left out, and the note says which they are and how sites were weighted.
    There is no interval where that of a site means nothing or is too narrow, as its note says: the mean's would claim
    to be surer than the sites are.
    """
    known = {site: found for site, found in sorted(by_site.items()) if found.value is not None}
    missing = [site for site in sorted(by_site) if site not in known]
    left_out = f"; left out as not estimable: {', '.join(missing)}" if missing else ""
    healthy, anomalous = (
        sum(getattr(found, name) for found in known.values()) for name in ("n_healthy", "n_anomalous")
    )
    if not known:
        note = f"not estimable at any site{left_out}"
        return Binned(value=None, n_healthy=healthy, n_anomalous=anomalous, note=note)
    count = len(known)
    values = [found.value for found in known.values() if found.value is not None]
    halves = [
        (found.high - found.low) / 2
        for found in known.values()
        if found.low is not None and found.high is not None and not found.note
    ]
    value = math.fsum(values) / count
    half = math.sqrt(math.fsum(part**2 for part in halves)) / count if len(halves) == count else None
    unsure = [site for site, found in known.items() if found.note]
    careful = f"; no interval, since none can be trusted of {', '.join(unsure)}" if unsure else ""
    return Binned(
        value=value,
        bound=math.fsum(found.bound for found in known.values()) / count,
        low=None if half is None else max(0.0, value - half),
        high=None if half is None else min(1.0, value + half),
        n_healthy=healthy,
        n_anomalous=anomalous,
        note=f"within sites: mean over {count} sites, each counting the same{left_out}{careful}",
    )


def _lacking(healthy: Histogram, anomalous: Histogram) -> Binned | None:
    lacking = [kind for kind, found in (("healthy", healthy), ("anomalous", anomalous)) if not found.n]
    if not lacking:
        return None
    note = f"not estimable: no {' and no '.join(lacking)} patients"
    return Binned(value=None, n_healthy=healthy.n, n_anomalous=anomalous.n, note=note)


def _variance(values: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    """Sample variance of values that were seen so often."""
    n = counts.sum()
    mean = (values * counts).sum() / n
    return float((counts * (values - mean) ** 2).sum() / max(n - 1, 1))
