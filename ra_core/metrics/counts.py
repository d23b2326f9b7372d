"""Detection metrics from counts per bin of score: exact where a bin is a distinct value, ties included.

All take how many healthy (`neg`) and anomalous (`pos`) items each bin holds, (..., K), bins by ascending score, and
broadcast over the leading dimensions (resamples); NaN where a class is missing.
"""

from __future__ import annotations

import numpy as np

from ra_core.metrics.inputs import BoolArray, FloatArray

__all__ = ["auroc", "average_precision", "dice_curve"]


def auroc(neg: FloatArray, pos: FloatArray) -> FloatArray:
    """Share of (healthy, anomalous) pairs in the right order, ties half (Mann and Whitney 1947); (...) in [0, 1]."""
    below = np.cumsum(neg, axis=-1) - neg / 2
    pairs = neg.sum(axis=-1) * pos.sum(axis=-1)
    return _ratio((pos * below).sum(axis=-1), pairs, pairs > 0)


def average_precision(neg: FloatArray, pos: FloatArray) -> FloatArray:
    """Sum over thresholds of precision times the gain in recall, as scikit-learn has it; (...) in [0, 1]."""
    found, flagged = _at_least(pos), _at_least(neg + pos)
    precision = _ratio(found, flagged, flagged > 0, otherwise=0.0)
    n_neg, n_pos = neg.sum(axis=-1), pos.sum(axis=-1)
    return _ratio((precision * pos).sum(axis=-1), n_pos, (n_pos > 0) & (n_neg > 0))


def dice_curve(neg: FloatArray, pos: FloatArray) -> FloatArray:
    """2 TP / (2 TP + FP + FN) when bin k and all above are flagged, for each k; (..., K) in [0, 1]."""
    n_pos = pos.sum(axis=-1, keepdims=True)
    both = _at_least(neg + pos) + n_pos
    return _ratio(2 * _at_least(pos), both, np.broadcast_to(n_pos > 0, both.shape))


def _at_least(counts: FloatArray) -> FloatArray:
    """Items in bin k or above; (..., K)."""
    return np.flip(np.cumsum(np.flip(counts, -1), axis=-1), -1)


def _ratio(over: FloatArray, under: FloatArray, where: BoolArray, otherwise: float = np.nan) -> FloatArray:
    ratio: FloatArray = np.divide(over, under, out=np.full(np.shape(over), otherwise), where=where)
    return ratio
