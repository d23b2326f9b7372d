"""Ways to set the thresholds of several sites: those that the product has, and those that they were compared with.

Each is a function of the sites' scores and the rate asked; infinity stands for no threshold.
"""

from unittest.mock import patch

import numpy as np

from ra_core.thresholds import conformal_threshold, shrinkage
from ra_core.thresholds.conformal import rank


def local(sites, rate):
    found = [conformal_threshold(scores, rate, "slice").value for scores in sites]
    return [np.inf if value is None else value for value in found]


def shrunken(sites, rate, weight=shrinkage.own_weight):
    with patch.object(shrinkage, "own_weight", weight):
        reference = shrinkage.consortium(sites, rate)
        return [shrinkage.shrunken(scores, reference) for scores in sites]


def location_only(sites, rate):
    """Scores are moved to a site's median, and keep the common spread."""
    with patch.object(shrinkage._Own, "unit", lambda *given: given[-1]):
        return shrunken(sites, rate)


def empirical_bayes(sites, rate):
    """Raw thresholds, shrunken to the pooled one by what is left of their spread (Fay and Herriot 1979)."""
    own = np.array([np.sort(scores)[min(rank(len(scores), rate), len(scores)) - 1] for scores in sites])
    counts = [len(scores) for scores in sites]
    spreads = [np.subtract(*np.quantile(scores, [0.75, 0.25])) for scores in sites]
    shape = np.concatenate([(s - np.median(s)) / spread for s, spread in zip(sites, spreads, strict=True)])
    around = np.sqrt(rate * (1 - rate) / np.array(counts))  # of a quantile's rank; Woodruff 1952
    ends = np.quantile(shape, np.clip([1 - rate - around, 1 - rate + around], 0, 1))
    variance = (np.average(spreads, weights=counts) * (ends[1] - ends[0]) / 2) ** 2

    def excess(between):
        """Of the spread of thresholds over what chance and this variance between sites explain (Paule and Mandel)."""
        weights = 1 / (variance + between)
        return (weights * (own - np.average(own, weights=weights)) ** 2).sum() - (len(own) - 1)

    low, high = 0.0, float(((own - own.mean()) ** 2).sum())
    if excess(low) <= 0:
        high = 0.0
    for _ in range(60):
        low, high = ((low + high) / 2, high) if excess((low + high) / 2) > 0 else (low, (low + high) / 2)
    weight = high / (high + variance)
    return weight * own + (1 - weight) * shrinkage.consortium(sites, rate).pooled


WAYS = {
    "pooled": lambda sites, rate: [shrinkage.consortium(sites, rate).pooled] * len(sites),
    "local": local,
    "shrunken": shrunken,
    "K = 0.5 / rate": lambda sites, rate: shrunken(sites, rate, lambda n, rate: n * rate / (n * rate + 0.5)),
    "K = 2 / rate": lambda sites, rate: shrunken(sites, rate, lambda n, rate: n * rate / (n * rate + 2)),
    "location only": location_only,
    "empirical Bayes": empirical_bayes,
}
