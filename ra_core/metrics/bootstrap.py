"""Percentile bootstrap over patients (Efron and Tibshirani 1993, ch. 13): images of one patient are not independent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from ra_core.metrics.inputs import FloatArray
from ra_core.rng import derive_seed

__all__ = ["Estimate", "Resampling", "interval"]

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
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n_healthy: int
    n_anomalous: int
    note: str = ""


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


def interval(
    statistic: Callable[[FloatArray], FloatArray], n_patients: int, resampling: Resampling
) -> tuple[float | None, float | None, str]:
    """Both ends of the percentile interval, and a note.

    Args:
        statistic: from how often each patient was drawn, (B, n_patients), to values (B,), NaN where undefined.
        n_patients: fewer than 2 give no interval.
        resampling: how many resamples, which coverage, which seed.

    Raises:
        ValueError: `bootstrap` or `confidence` is out of range.
    """
    bootstrap, confidence = resampling["bootstrap"], resampling["confidence"]
    if bootstrap < 1 or not 0 < confidence < 1:
        raise ValueError(f"need bootstrap >= 1 and 0 < confidence < 1, got {bootstrap} and {confidence}")
    if n_patients < 2:
        return None, None, "no interval: fewer than 2 patients"
    rng = np.random.default_rng(derive_seed(resampling["seed"], "bootstrap"))
    # n draws with replacement, counted: the same as drawing patients one by one
    drawn = rng.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=bootstrap).astype(np.float64)
    values = np.concatenate([statistic(drawn[start : start + CHUNK]) for start in range(0, bootstrap, CHUNK)])
    kept = values[~np.isnan(values)]
    lack = f"{bootstrap - len(kept)} of {bootstrap} resamples lack a class"
    if not len(kept):
        return None, None, f"no interval: {lack}"
    low, high = np.quantile(kept, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high), f"{lack} and were left out" if len(kept) < bootstrap else ""
