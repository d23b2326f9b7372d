"""Choosing a scoring and a map threshold on healthy validation images, without a single sick one.

A good scoring tells a healthy image from its twin with a synthetic anomaly. The threshold is a plain quantile; a
threshold with a guarantee needs images of its own (`docs/method.md`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from torch import Tensor

from ra_core.metrics import Estimate, Resampling, image_auroc
from ra_core.scoring import ScoringConfig
from ra_core.site_scorer import SiteScorer
from ra_core.synthetic import KINDS, spoil

__all__ = ["choose_scoring", "map_thresholds", "synthetic_auroc"]

T = TypeVar("T")


def synthetic_auroc(
    scorer: SiteScorer,
    val: Sequence[Tensor],
    others: Tensor,
    patients: Sequence[str],
    resampling: Resampling,
) -> dict[tuple[str, str], Estimate]:
    """AUROC between validation images and their spoiled twins, by (scoring name, kind of anomaly).

    Args:
        scorer: a method ready for this site.
        val: batches (N, 1, S, S) of healthy validation images.
        others: healthy images (M, 1, S, S) that foreign pieces come from.
        patients: one for each validation image.
        resampling: how intervals are made; its seed also seeds the anomalies.
    """
    healthy = scorer.scores(val)
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


def map_thresholds(scorer: SiteScorer, val: Iterable[Tensor], pixel_fpr: float) -> dict[str, float]:
    """By scoring name, the map value that a share `pixel_fpr` of healthy validation pixels exceed."""
    found: dict[str, list[np.ndarray]] = {s.name: [] for s in scorer.scorings}
    for x in val:
        for name, maps in scorer.maps(x).items():
            found[name].append(maps.numpy().ravel())
    return {name: float(np.quantile(np.concatenate(parts), 1 - pixel_fpr)) for name, parts in found.items()}


def _defined(auroc: Estimate) -> float:
    if auroc.value is None:
        raise ValueError(f"no AUROC on synthetic anomalies: {auroc.note}")
    return auroc.value


def _spoiled(val: Iterable[Tensor], kind: str, seed: int, others: Tensor) -> Iterable[Tensor]:
    first = 0
    for x in val:
        yield spoil(x, kind, seed, others, first)[0]
        first += len(x)
