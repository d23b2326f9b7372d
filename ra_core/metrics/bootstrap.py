"""Percentile bootstrap over patients (Efron and Tibshirani 1993, ch. 13): images of one patient are not independent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypedDict, Unpack

import numpy as np

from ra_core.metrics.inputs import FloatArray
from ra_core.rng import derive_seed

__all__ = ["Estimate", "Resampling", "average", "resample"]

CHUNK = 128
"""Resamples computed at a time: 128 rows of 4096 bins stay near the cache."""


@dataclass(frozen=True)
class Estimate:
    """A number measured on some images.

    Attributes:
        value: None where it is undefined; `note` says why.
        ci_low, ci_high: ends of the interval; None where there is none; `note` says why.
        n_healthy, n_anomalous: images behind it.
        note: what a reader has to know.
        resampled: the bootstrap values behind the interval, (B,), NaN where undefined; empty where there are none.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n_healthy: int
    n_anomalous: int
    note: str = ""
    resampled: FloatArray = field(default_factory=lambda: np.zeros(0), compare=False, repr=False)

    @classmethod
    def of(cls, value: float, resampled: FloatArray, confidence: float, counts: tuple[int, int]) -> Estimate:
        """A value with the percentile interval of its bootstrap values (B,), NaN where undefined.

        Args:
            value: of all images.
            resampled: empty where there are fewer than two patients.
            confidence: coverage of the interval, in (0, 1).
            counts: healthy and anomalous images.
        """
        kept, total = resampled[~np.isnan(resampled)], len(resampled)
        lack = f"{total - len(kept)} of {total} resamples lack a class"
        if not len(kept):
            why = lack if total else "fewer than 2 patients"
            return cls(value, None, None, *counts, f"no interval: {why}", resampled)
        low, high = np.quantile(kept, [(1 - confidence) / 2, (1 + confidence) / 2])
        note = f"{lack} and were left out" if len(kept) < total else ""
        return cls(value, float(low), float(high), *counts, note, resampled)


class Resampling(TypedDict):
    """Keyword arguments of every metric: how its interval is made.

    Attributes:
        bootstrap: resamples, at least 1.
        confidence: coverage of the interval, in (0, 1).
        seed: of the study; the same seed draws the same patients for every metric.
    """

    bootstrap: int
    confidence: float
    seed: int


def resample(statistic: Callable[[FloatArray], FloatArray], n_patients: int, resampling: Resampling) -> FloatArray:
    """Bootstrap values (..., B) of a statistic; (..., 0) with fewer than two patients.

    Args:
        statistic: from how often each patient was drawn, (b, n_patients), to values (..., b), NaN where undefined.
        n_patients: at least 1.
        resampling: how many resamples, which coverage, which seed.

    Raises:
        ValueError: `bootstrap` or `confidence` is out of range.
    """
    bootstrap, confidence = resampling["bootstrap"], resampling["confidence"]
    if bootstrap < 1 or not 0 < confidence < 1:
        raise ValueError(f"need bootstrap >= 1 and 0 < confidence < 1, got {bootstrap} and {confidence}")
    drawn = _draws(resampling["seed"], n_patients, bootstrap if n_patients > 1 else 0)
    starts = range(0, max(len(drawn), 1), CHUNK)
    return np.concatenate([statistic(drawn[start : start + CHUNK]) for start in starts], axis=-1)


def average(estimates: Sequence[Estimate], **resampling: Unpack[Resampling]) -> Estimate:
    """Mean of one number over sites, each site counting the same, with a percentile interval.

    Sites are independent, but one seed draws the same patients at all sites that have equally many. So each site's
    bootstrap values are permuted before they are averaged.

    Args:
        estimates: one a site, in an order that doesn't change; made with the same `resampling`.
        resampling: see `Resampling`.

    Raises:
        ValueError: no estimates, or their numbers of bootstrap values differ.
    """
    if not estimates:
        raise ValueError("no estimates to average")
    counts = sum(e.n_healthy for e in estimates), sum(e.n_anomalous for e in estimates)
    values = [e.value for e in estimates if e.value is not None]
    if len(values) < len(estimates):
        note = f"not estimable at {len(estimates) - len(values)} of {len(estimates)} sites"
        return Estimate(None, None, None, *counts, note)
    value = math.fsum(values) / len(values)
    without = sum(e.ci_low is None for e in estimates)
    if without:
        note = f"no interval: {without} of {len(estimates)} sites have none"
        return Estimate(value, None, None, *counts, note)
    permuted = [
        np.random.default_rng(derive_seed(resampling["seed"], "average over sites", place)).permutation(e.resampled)
        for place, e in enumerate(estimates)
    ]
    return Estimate.of(value, np.mean(permuted, axis=0), resampling["confidence"], counts)


@lru_cache(maxsize=8)  # every metric of a site draws the same
def _draws(seed: int, n_patients: int, bootstrap: int) -> FloatArray:
    """How often each patient is drawn in each resample, (bootstrap, n_patients), read-only."""
    rng = np.random.default_rng(derive_seed(seed, "bootstrap"))
    # n draws with replacement, counted: the same as drawing patients one by one
    drawn = rng.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=bootstrap).astype(np.float64)
    drawn.flags.writeable = False
    return drawn
