"""Whether scores of today are still like those that a threshold was set on."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import chdtrc, kolmogi, kolmogorov

from ra_core.settings import Config
from ra_core.thresholds.histogram import CELLS, Histogram
from ra_core.words import rounded_up

__all__ = ["Drift", "drift", "least_ks"]

BINS = 10
"""Of the stability index: tenths of the reference, as is usual."""


class Drift(Config):
    """How far two sets of scores are apart.

    Attributes:
        n_reference, n: scores in each.
        ks: largest difference of their distribution functions at the published edges.
        ks_bound: that of the scores themselves is at most so much larger.
        ks_p: chance of such a difference if nothing had changed (asymptotic; cells make it larger than it is).
        psi: population stability index, sum of (p - q) ln(p / q) over tenths of the reference, each with half a score
            added.
        psi_p: chance of such an index if nothing had changed: divided by 1/n + 1/n_reference it follows a chi-squared
            distribution with one degree of freedom less than bins (Yurdakul 2018).
        higher: whether the later scores are higher in the middle.
    """

    n_reference: int = Field(ge=1)
    n: int = Field(ge=1)
    ks: float
    ks_bound: float
    ks_p: float
    psi: float
    psi_p: float
    higher: bool

    @property
    def told_ks(self) -> str:
        """The difference, and by how much more the cells of histograms may hide."""
        cells = f" (at most {rounded_up(self.ks_bound, 2)} more by cells)" if self.ks_bound else ""
        return f"KS {self.ks:.2f}{cells}"


def drift(reference: Histogram, later: Histogram) -> Drift:
    """Compare later scores with those of a reference.

    Raises:
        ValueError: one of them is empty.
    """
    if not (reference.n and later.n):
        raise ValueError("no scores to compare")
    (low_p, high_p), (low_q, high_q) = _distribution(reference), _distribution(later)
    ks = float(np.abs((low_p + high_p) / 2 - (low_q + high_q) / 2).max())
    most = max(float((high_p - _before(low_q)).max()), float((high_q - _before(low_p)).max()))
    even = _even(reference.n, later.n)
    psi, bins = _stability(reference, later)
    return Drift(
        n_reference=reference.n,
        n=later.n,
        ks=ks,
        ks_bound=max(0.0, most - ks),
        ks_p=float(kolmogorov(math.sqrt(even) * ks)),
        psi=psi,
        psi_p=float(chdtrc(bins - 1, psi * even)) if bins > 1 else 1.0,
        higher=float(np.median(_middles(later))) > float(np.median(_middles(reference))),
    )


def least_ks(n_reference: int, n: int, chance: float) -> float:
    """Difference of distribution functions of so many scores that has this chance if nothing had changed; at most 1.

    >>> f"{least_ks(60, 50, 0.05):.2f}", f"{least_ks(60, 5, 0.05):.2f}"
    ('0.26', '0.63')
    """
    return min(1.0, float(kolmogi(chance)) / math.sqrt(_even(n_reference, n)))


def _even(n_reference: int, n: int) -> float:
    """Half the size of each of two equal sets that tell as much."""
    return n_reference * n / (n_reference + n)


def _distribution(found: Histogram) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lowest and the highest that the distribution function can be at the end of each cell."""
    first, last, counts = found.columns()
    low, high = (np.cumsum(np.bincount(cells, counts, CELLS)) / found.n for cells in (last, first))
    return low, high


def _before(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """At the beginning of each cell."""
    return np.concatenate([[0.0], values[:-1]])


def _middles(found: Histogram) -> NDArray[np.float64]:
    """Of its cell, for each score, in cells; ascending."""
    first, last, counts = found.columns()
    return np.sort(np.repeat((first + last) / 2, counts))


def _stability(reference: Histogram, later: Histogram) -> tuple[float, int]:
    """The index, and over how many bins: tenths of the reference, fewer where many scores share a cell."""
    middles = _middles(reference)
    ends = np.unique(middles[np.arange(1, BINS) * len(middles) // BINS])
    counts = [
        np.bincount(np.searchsorted(ends, _middles(found)), minlength=len(ends) + 1) for found in (reference, later)
    ]
    p, q = (found[counts[0] + counts[1] > 0] + 0.5 for found in counts)
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum()), len(p)
