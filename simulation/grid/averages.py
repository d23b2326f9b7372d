"""Averages of numbers of a study: over models of several seeds, and over sites."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ra_core.metrics import Estimate, average
from simulation.grid.measure import MEASURING_SEED
from simulation.grid.paired import UNKEPT, noted

__all__ = ["lacks_images", "over_seeds", "over_sites"]

ENDS = "the ends of the interval are averaged over seeds"


def over_seeds(estimates: Sequence[Estimate], confidence: float) -> Estimate:
    """Mean over models measured on the same images; its interval is that of the patients alone, since there are few.

    Without bootstrap values, the ends of the intervals are averaged: an interval that is too wide rather than too
    narrow, for the models' errors are taken to go together.

    Raises:
        ValueError: there is none.
    """
    if not estimates:
        raise ValueError("no seed has this number")
    first = estimates[0]
    if len(estimates) == 1:
        return first
    counts = first.n_healthy, first.n_anomalous
    lacking = [found for found in estimates if found.value is None]
    if lacking:
        return Estimate(None, None, None, *counts, lacking[0].note)
    value = math.fsum(found.value or 0.0 for found in estimates) / len(estimates)
    if any(len(found.resampled) != len(first.resampled) or not len(found.resampled) for found in estimates):
        return noted(Estimate(value, *_mean_ends(estimates), *counts, ENDS), estimates)
    mean = np.mean([found.resampled for found in estimates], axis=0)
    return noted(Estimate.of(value, mean, confidence, counts), estimates)


def over_sites(found: Sequence[Estimate | None], bootstrap: int, confidence: float) -> Estimate | None:
    """Mean over sites, each counting the same; None where a site has no number.

    Sites without the images that a number is of are left out.

    Args:
        found: of each site.
        bootstrap: resamples of each.
        confidence: of the interval.
    """
    whole = [one for one in found if one is not None]
    if not whole or len(whole) < len(found):
        return None
    known = [one for one in whole if not lacks_images(one)] or whole
    if len(known) == 1:
        return known[0]
    reasons = {one.note for one in known if one.value is None}
    if len(reasons) == 1 and all(one.value is None for one in known):
        return replace(known[0], n_healthy=_sum(known, "n_healthy"), n_anomalous=_sum(known, "n_anomalous"))
    if all(one.ci_low is not None and one.value is not None for one in known) and any(
        not len(one.resampled) for one in known
    ):
        value = math.fsum(one.value or 0.0 for one in known) / len(known)
        return Estimate(value, None, None, _sum(known, "n_healthy"), _sum(known, "n_anomalous"), UNKEPT)
    return average(known, bootstrap=bootstrap, confidence=confidence, seed=MEASURING_SEED)


def lacks_images(found: Estimate) -> bool:
    """Whether there is no number for want of images of a kind."""
    return found.value is None and not (found.n_healthy and found.n_anomalous)


def _mean_ends(estimates: Sequence[Estimate]) -> tuple[float | None, float | None]:
    """Of the intervals; none where one has none."""
    lows = [found.ci_low for found in estimates if found.ci_low is not None]
    highs = [found.ci_high for found in estimates if found.ci_high is not None]
    if len(lows) < len(estimates) or len(highs) < len(estimates):
        return None, None
    return math.fsum(lows) / len(lows), math.fsum(highs) / len(highs)


def _sum(estimates: Sequence[Estimate], count: str) -> int:
    return sum(getattr(found, count) for found in estimates)
