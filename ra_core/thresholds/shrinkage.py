"""A hospital's threshold between its own and its consortium's: what few patients can't tell, others' can.

A site's own threshold rests on its few highest scores, the consortium's on many, but of other scanners. So the
consortium's is first brought to the site: scores of each site are measured from the site's median in units of its
interquartile range, which is drawn to the mean one of all sites where the site has few patients, and the conformal
threshold z of all of them together is put where the site's scores are. Between the two stands the credibility formula
Z = n / (n + K) of Bühlmann (1967, "Experience rating and credibility", ASTIN Bulletin 4), here with K = 1 / rate: the
weight of a site's own is

    w = n rate / (n rate + 1),

where n rate is how many of its patients are expected above the threshold. K could be estimated from the spread between
sites, as in empirical Bayes (Fay and Herriot 1979); with the few sites of a consortium that estimate is noise, and in
simulations where scanners differ its thresholds were 1.7 times as far from the true ones by two ways to score, and
nearer to them by the third (`benchmarks/calibration.py`).

A shrunken threshold has no finite-sample guarantee: how often healthy patients are above it has to be measured. Nor is
it monotone in the rate: w grows with the rate, so where a site's own threshold lies above what is brought to it, a
higher rate can move the threshold up towards the own one. And a site of few patients has its highest score for its own
part, which one outlier among them drags; `resting` says how much of the threshold that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from ra_core.settings import Config
from ra_core.thresholds.conformal import patients_needed, rank
from ra_core.words import percent

__all__ = ["FEWEST", "Reference", "consortium", "own_weight", "resting", "shrunken"]

FEWEST = 4
"""Scores from which a median and a spread mean anything."""


class Reference(Config):
    """What a consortium's healthy scores say together, so that a site can set its threshold by it.

    Attributes:
        rate: asked, of false alarms.
        pooled: the conformal threshold of all scores as they are, one for all sites; None where they are too few.
        z: the same of standardised scores, in interquartile ranges above the median; None likewise, and where all
            interquartile ranges are 0: then sites are brought the pooled threshold as it is.
        spread: mean interquartile range of the sites, each weighted by its patients.
        n: patients.
        sites: how many.
    """

    rate: float = Field(gt=0, lt=1)
    pooled: float | None = Field(None, ge=0)
    z: float | None = None
    spread: float = Field(ge=0)
    n: int = Field(ge=1)
    sites: int = Field(ge=1)


@dataclass(frozen=True)
class _Own:
    """A site's scores in short: how many, their middle, their interquartile range."""

    n: int
    median: float
    spread: float

    @classmethod
    def of(cls, scores: NDArray[np.float64]) -> _Own:
        low, middle, high = np.quantile(scores, [0.25, 0.5, 0.75])
        return cls(len(scores), float(middle), float(high - low))

    def unit(self, rate: float, common: float) -> float:
        """What standardised scores are counted in: the site's own spread, drawn to the common one if it has few."""
        w = own_weight(self.n, rate)
        return w * self.spread + (1 - w) * common


def own_weight(n: int, rate: float) -> float:
    """How much a site's own threshold counts, in [0, 1)."""
    return n * rate / (n * rate + 1)


def resting(n: int, rate: float) -> str:
    """How much of a shrunken threshold of n patients rests on the highest score alone; empty where nothing does.

    >>> resting(20, 0.05), resting(39, 0.05)
    ('50 % of it rest on the highest score alone: 39 patients would bear an outlier', '')
    """
    enough = patients_needed(rate, outliers=1)
    if n >= enough:
        return ""
    part = percent(own_weight(n, rate))
    return f"{part} of it rest on the highest score alone: {enough} patients would bear an outlier"


def consortium(scores: Sequence[ArrayLike], rate: float) -> Reference:
    """What healthy scores of several sites say together.

    Args:
        scores: of each site, one a patient, (n,), finite; in any order. Sites with fewer than 4 are left out.
        rate: of false alarms, in (0, 1).

    Raises:
        ValueError: no site has 4 scores, or one is infinite.
    """
    sites = [np.sort(np.asarray(found, np.float64)) for found in scores]
    sites = sorted((found for found in sites if len(found) >= FEWEST), key=lambda found: found.tolist())
    if not sites or not all(np.isfinite(found).all() for found in sites):
        raise ValueError(f"need sites with {FEWEST} finite scores")
    owns = [_Own.of(found) for found in sites]
    common = float(np.average([own.spread for own in owns], weights=[own.n for own in owns]))
    z = None
    if common > 0:
        parts = [(found - own.median) / own.unit(rate, common) for found, own in zip(sites, owns, strict=True)]
        z = _quantile(np.concatenate(parts), rate)
    pooled = _quantile(np.concatenate(sites), rate)
    return Reference(rate=rate, pooled=pooled, z=z, spread=common, n=sum(own.n for own in owns), sites=len(sites))


def shrunken(scores: ArrayLike, reference: Reference) -> float | None:
    """A site's threshold between its own and the consortium's.

    Args:
        scores: of the site's healthy patients, one each, (n,), finite.
        reference: of its consortium, at the rate asked.

    Returns:
        None where the site has fewer than 4 scores, or the consortium's are too few for the rate.

    Raises:
        ValueError: a score is not finite.
    """
    values, rate = np.sort(np.asarray(scores, np.float64)), reference.rate
    if not np.isfinite(values).all():
        raise ValueError("need finite scores")
    if len(values) < FEWEST or reference.pooled is None:
        return None
    own = _Own.of(values)
    w = own_weight(own.n, rate)
    moved = None if reference.z is None else own.median + own.unit(rate, reference.spread) * reference.z
    brought = reference.pooled if moved is None else moved
    highest = float(values[min(rank(own.n, rate), own.n) - 1])
    return w * highest + (1 - w) * brought


def _quantile(values: NDArray[np.float64], rate: float) -> float | None:
    k = rank(len(values), rate)
    return float(np.sort(values)[k - 1]) if k <= len(values) else None
