"""Thresholds at a stated false-positive rate, and numbers that many sites' score histograms give together.

A score is above a threshold if it is greater, never if it is equal. `n` counts patients: one score each.
"""

from ra_core.thresholds.conformal import (
    Promise,
    conformal_threshold,
    expected_range,
    patients_lacking,
    patients_needed,
)
from ra_core.thresholds.histogram import EDGES, EDGES_NAME, Histogram, edge_above, merged
from ra_core.thresholds.pixels import pixel_threshold
from ra_core.thresholds.units import Unit, patient_scores

__all__ = [
    "EDGES",
    "EDGES_NAME",
    "Histogram",
    "Promise",
    "Unit",
    "conformal_threshold",
    "edge_above",
    "expected_range",
    "merged",
    "patient_scores",
    "patients_lacking",
    "patients_needed",
    "pixel_threshold",
]
