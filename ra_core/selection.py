"""Choosing a scoring and thresholds on healthy validation images, without a single sick one.

A good scoring tells a healthy image from its twin with a synthetic anomaly. Thresholds are plain quantiles; a threshold
with a guarantee needs images of its own (`calibrating.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from torch import Tensor

from ra_core.metrics import Estimate, Resampling, image_auroc
from ra_core.scoring import ScoringConfig
from ra_core.site_scorer import SiteScorer
from ra_core.synthetic import KINDS, spoil

__all__ = ["choose_scoring", "image_threshold", "pixel_threshold", "synthetic_auroc"]


def synthetic_auroc(
    scorer: SiteScorer,
    val: Sequence[Tensor],
    healthy: Mapping[str, np.ndarray],
    others: Tensor,
    patients: Sequence[str],
    resampling: Resampling,
) -> dict[tuple[str, str], Estimate]:
    """AUROC between validation images and their spoiled twins, by (scoring name, kind of anomaly).

    Args:
        scorer: a method ready for this site.
        val: batches (N, 1, S, S) of healthy validation images.
        healthy: their scores by scoring name, of all batches.
        others: healthy images (M, 1, S, S) that foreign pieces come from.
        patients: one for each validation image.
        resampling: how intervals are made; its seed also seeds the anomalies.
    """
    labels = np.repeat([0, 1], len(patients))
    found = {}
    for kind in KINDS:
        sick = scorer.scores(_spoiled(val, kind, resampling["seed"], others))
        for s in scorer.scorings:
            found[s.name, kind] = image_auroc(
                np.concatenate([healthy[s.name], sick[s.name]]),
                labels,
                [*patients, *patients],
                **resampling,
            )
    return found


def choose_scoring(
    scorings: Sequence[ScoringConfig], auroc: Mapping[tuple[str, str], Estimate]
) -> tuple[ScoringConfig, dict[str, float]]:
    """The scoring with the highest mean AUROC over the kinds of synthetic anomaly, and all means by name.

    Raises:
        ValueError: an AUROC is undefined.
    """
    means = {s.name: float(np.mean([_defined(auroc[s.name, kind]) for kind in KINDS])) for s in scorings}
    return max(scorings, key=lambda s: means[s.name]), means


def pixel_threshold(maps: np.ndarray, pixel_fpr: float) -> float:
    """The map value that a share `pixel_fpr` of healthy validation pixels, of any shape, exceed."""
    return float(np.quantile(maps, 1 - pixel_fpr))


def image_threshold(scores: np.ndarray, image_fpr: float) -> float:
    """The lowest of the scores (N,) of healthy validation images that at most a share `image_fpr` of them exceed."""
    return float(np.quantile(scores, 1 - image_fpr, method="inverted_cdf"))


def _defined(auroc: Estimate) -> float:
    if auroc.value is None:
        raise ValueError(f"no AUROC on synthetic anomalies: {auroc.note}")
    return auroc.value


def _spoiled(val: Iterable[Tensor], kind: str, seed: int, others: Tensor) -> Iterable[Tensor]:
    first = 0
    for x in val:
        yield spoil(x, kind, seed, others, first)[0]
        first += len(x)
