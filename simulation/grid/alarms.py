"""How often healthy patients are above thresholds of three kinds, from the scores that cells keep.

Thresholds are set on healthy patients of the `calibration` split where a site has one, else on validation patients, and
tried on healthy test patients. Validation patients chose epoch and scoring too, so nothing is promised of those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ra_core.data import ImageSet
from ra_core.metrics import Estimate
from ra_core.thresholds import Histogram, Unit, patient_scores, patients_needed
from ra_core.thresholds.federation import reference_of, thresholds
from ra_core.thresholds.figures import rate_above
from ra_core.thresholds.record import Way
from ra_core.thresholds.shrinkage import FEWEST, Reference
from simulation.grid.result import CellResult

__all__ = ["SHARED", "UNIT", "Alarms", "alarms", "healthy_cells"]

SHARED = ("fedavg", "pooled")
"""Ways to train one model that all sites use as it is."""

UNIT: Unit = "study"
"""What an alarm is about: all images of a patient, whose highest score counts."""

NOBODY = "no healthy test patients"
BEYOND = "above all edges"


class Alarms(NamedTuple):
    """A rate of false alarms: at a site, under a scoring, by a way to set the threshold."""

    site: str
    scoring: str
    way: Way


def healthy_cells(images: ImageSet, scores: NDArray[np.float64]) -> tuple[tuple[int, int, int], ...]:
    """Cells of the histogram of healthy patients' scores, one a patient; who has a sick image too isn't counted.

    Args:
        images: of a split.
        scores: of all of them, (N,), at least 0.
    """
    sick = {row.patient_id for row in images.rows if row.label == "anomalous"}
    kept = [place for place, row in enumerate(images.rows) if row.patient_id not in sick]
    patients, names = [images.rows[place].patient_id for place in kept], [images.names[place] for place in kept]
    found = patient_scores(scores[kept], patients, names, UNIT)
    return Histogram.of(found).cells


def alarms(result: CellResult, trained: Sequence[str], rate: float) -> dict[Alarms, Estimate]:
    """Achieved rates of a cell, with intervals of Clopper and Pearson; `n_healthy` counts patients.

    Args:
        result: of a model that all trained sites share.
        trained: sites whose patients the pooled and the shrunken thresholds rest on.
        rate: asked.
    """
    scorings = dict.fromkeys(scoring for kept in result.healthy.values() for scoring in kept)
    found: dict[Alarms, Estimate] = {}
    for scoring in scorings:
        by_site = {site: kept[scoring] for site, kept in result.healthy.items() if scoring in kept}
        val = {site: Histogram(one.val) for site, one in by_site.items()}
        shared = {site: val[site] for site in trained if site in val}
        reference = reference_of(shared, rate)
        lacking = _lacking_together(reference, sum(one.n for one in shared.values()), patients_needed(rate))
        for site, one in by_site.items():
            for way, (limit, lack) in _thresholds(site, val[site], reference, rate, lacking).items():
                found[Alarms(site, scoring, way)] = _achieved(Histogram(one.test), limit, lack)
    return found


def _lacking_together(reference: Reference | None, found: int, needed: int) -> str:
    """Why sites with so many patients have no pooled threshold; empty where they have one."""
    if reference is None and found >= needed:
        return f"no site of {FEWEST} patients, all within the edges"
    n = found if reference is None else reference.n
    return f"{n} of {needed} needed at all sites" if reference is None or reference.pooled is None else ""


def _thresholds(
    site: str, val: Histogram, reference: Reference | None, rate: float, lack: str
) -> Mapping[Way, tuple[float | None, str]]:
    """Each with the reason why there is none; all on published edges, so that who is above one can be counted.

    Args:
        site: its name.
        val: of its patients.
        reference: of the sites that share the model.
        rate: asked.
        lack: why these have no pooled threshold.
    """
    pooled = reference.pooled if reference else None, lack
    if not np.isfinite(val.highest()).all():
        return {"local": (None, BEYOND), "pooled": pooled, "shrunken": (None, BEYOND)}
    [own] = thresholds({site: val}, reference, rate, UNIT)
    few, short = (f"{val.n} of {least} needed" for least in (patients_needed(rate), FEWEST))
    return {
        "local": (own.local.value, few),
        "pooled": pooled,
        "shrunken": (own.shrunken, lack or (BEYOND if val.n >= FEWEST else short)),
    }


def _achieved(test: Histogram, limit: float | None, lack: str) -> Estimate:
    if limit is None or not test.n:
        return Estimate(None, None, None, test.n, 0, lack if limit is None else NOBODY)
    rate = rate_above(test, limit)
    return Estimate(rate.value, rate.low, rate.high, test.n, 0)
