"""What shrunken thresholds are for, with simulated gamma scores; docs/thresholds_measured.md has those of a model."""

import numpy as np
import pytest
from scipy.stats import gamma

from ra_core.thresholds import conformal_threshold, expected_range, patients_needed
from ra_core.thresholds.shrinkage import consortium, shrunken

COUNTS = (15, 20, 30, 40, 60, 80, 120, 200)
RATE = 0.05
SCALES = np.array([0.6, 0.8, 0.9, 1.0, 1.1, 1.3, 1.6, 3.0])
"""Of the hospitals' scores: scanners differ, and one more than the others."""


@pytest.fixture(scope="module")
def measured():
    """By way, of 100 draws: hospitals beyond what chance allows a local threshold, mean rate, and RMSE in spreads."""
    rng, found = np.random.default_rng(0), {way: [] for way in ("local", "pooled", "shrunken")}
    true = gamma.isf(RATE, 6)
    for _ in range(100):
        counts = rng.permutation(COUNTS)
        sites = [scale * rng.gamma(6, size=n) for n, scale in zip(counts, SCALES, strict=True)]
        reference = consortium(sites, RATE)
        limits = {
            "local": [conformal_threshold(scores, RATE, "slice").value or np.inf for scores in sites],
            "pooled": [reference.pooled] * len(sites),
            "shrunken": [shrunken(scores, reference) for scores in sites],
        }
        most = [expected_range(max(n, patients_needed(RATE)), RATE)[1] for n in counts]
        for way, limit in limits.items():
            scaled = np.array(limit) / SCALES
            rates = gamma.sf(scaled, 6)
            far = (scaled - true)[np.isfinite(scaled)] / np.sqrt(6)
            found[way].append([(rates > most).sum(), rates[np.isfinite(scaled)].mean(), np.sqrt((far**2).mean())])
    return {way: np.mean(rows, 0) for way, rows in found.items()}


def test_they_are_beyond_chance_at_fewer_hospitals_than_the_pooled_one(measured):
    assert measured["pooled"][0] > 0.9  # the hospital whose scores are three times as high
    assert measured["shrunken"][0] < 0.3


def test_they_achieve_the_rate_asked_on_average(measured):
    assert measured["shrunken"][1] == pytest.approx(RATE, abs=0.01)


def test_they_are_nearer_to_the_true_ones_than_local_ones(measured):
    assert measured["shrunken"][2] < 0.95 * measured["local"][2]
    assert measured["shrunken"][2] < 0.3 * measured["pooled"][2]
