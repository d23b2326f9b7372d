"""Thresholds with a finite-sample guarantee, from scores of healthy patients that chose nothing else.

If these patients and the next one are exchangeable, the next one's score is above the k-th smallest of n scores, k =
ceil((1 - rate)(n + 1)), with a probability of at most `rate`, whatever the scores' distribution (split conformal
prediction: Vovk, Gammerman and Shafer 2005; Lei et al. 2018, "Distribution-Free Predictive Inference for Regression").
That is a promise on average over calibrations. Given one calibration and continuous scores, the rate that is achieved
follows Beta(n + 1 - k, k) (Vovk 2012, "Conditional validity of inductive conformal predictors"), which gives its
expected range.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from ra_core.settings import Config
from ra_core.thresholds.units import Unit

__all__ = [
    "Promise",
    "conformal_threshold",
    "expected_range",
    "patients_lacking",
    "patients_needed",
    "rank",
    "too_few",
]

CONFIDENCE = 0.95
"""Of expected ranges."""

HAIR = 1e-9
"""Products such as 0.95 x 20 are a little more than the whole number that they stand for."""


class Promise(Config):
    """A threshold, and what it promises.

    Attributes:
        value: a score above it is an alarm; None where the rate can't be promised, of which `note` says why.
        rate: asked, of false alarms among healthy patients.
        unit: what an alarm is about: a slice, a study, or a pixel of an image.
        n: healthy patients behind it.
        low, high: expected range of the rate that it achieves, with 95 % confidence; None where nothing is promised,
            and of pixels, for whose rates there is no such range.
        note: what a reader has to know.
    """

    value: float | None
    rate: float = Field(gt=0, lt=1)
    unit: Unit | Literal["pixel"]
    n: int = Field(ge=0)
    low: float | None = None
    high: float | None = None
    note: str = ""


def rank(n: int, rate: float) -> int:
    """Which of n scores, from the smallest and from 1, is the threshold; n + 1 where none is high enough."""
    return math.ceil((1 - rate) * (n + 1) - HAIR)


def patients_needed(rate: float, outliers: int = 0) -> int:
    """The fewest patients with which a rate can be promised.

    Args:
        rate: of false alarms, in (0, 1).
        outliers: patients who are not healthy after all and whom the threshold has to lie below.

    >>> patients_needed(0.05), patients_needed(0.05, outliers=1)
    (19, 39)
    """
    return math.ceil((outliers + 1) / rate - 1 - HAIR)


def patients_lacking(found: int, rate: float, share: float) -> int:
    """About how many more patients it takes until a rate can be promised, 0 where it can be.

    Args:
        found: patients who set the threshold now.
        rate: of false alarms, in (0, 1).
        share: of patients whom a draw lets set it, in (0, 1].

    >>> patients_lacking(8, 0.05, 0.5)
    22
    """
    return max(0, math.ceil((patients_needed(rate) - found) / share))


def expected_range(n: int, rate: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Between what the achieved rate of a conformal threshold from n patients lies, with this confidence.

    Ties between scores make the achieved rate smaller.

    Raises:
        ValueError: n patients can't promise the rate.
    """
    k = rank(n, rate)
    if k > n:
        raise ValueError(f"{n} patients can't promise a rate of {rate:g}: {patients_needed(rate)} are needed")
    tail = (1 - confidence) / 2
    from scipy.special import betaincinv  # noqa: PLC0415 - a round sets no threshold; scipy.stats takes even longer

    low, high = betaincinv(n + 1 - k, k, [tail, 1 - tail])
    return float(low), float(high)


def conformal_threshold(scores: ArrayLike, rate: float, unit: Unit) -> Promise:
    """A threshold that a healthy patient's score exceeds with a probability of at most `rate`.

    Args:
        scores: one a healthy patient, (n,), finite.
        rate: of false alarms, in (0, 1).
        unit: of the scores.

    Raises:
        ValueError: a score is not finite, or the rate is out of range.

    >>> conformal_threshold(range(19), 0.05, "slice").value, conformal_threshold(range(18), 0.05, "slice").note
    (18.0, 'not enough patients: 18 of 19 needed')
    """
    values = np.sort(_finite(scores))
    n, needed = len(values), patients_needed(rate)
    k = rank(n, rate)
    if k > n:
        return Promise(value=None, rate=rate, unit=unit, n=n, note=too_few(n, needed))
    low, high = expected_range(n, rate)
    one = k == n
    note = f"rests on the highest score alone: {patients_needed(rate, 1)} patients would bear an outlier" if one else ""
    return Promise(value=float(values[k - 1]), rate=rate, unit=unit, n=n, low=low, high=high, note=note)


def too_few(n: int, needed: int) -> str:
    """Why there is no threshold."""
    return f"not enough patients: {n} of {needed} needed"


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise ValueError("need finite numbers (n,)")
    return found
