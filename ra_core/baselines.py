"""What simple methods and shortcuts find on the same images: a method that doesn't beat them has shown nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from torch import Tensor

from ra_core.data import SiteImages
from ra_core.groups import Cases
from ra_core.metrics import Estimate
from ra_core.models.method import FittedMethod
from ra_core.models.nearest import NearestNeighbour
from ra_core.models.pca import PCA
from ra_core.results import ResultRow
from ra_core.scoring import ScoringConfig, image_scores
from ra_core.selection import image_threshold
from ra_core.shortcuts import SHORTCUTS
from ra_core.site_scorer import batches
from ra_core.table import Table

__all__ = ["BASELINES", "evaluate_baselines"]

BASELINES: dict[str, type[FittedMethod]] = {"nearest_neighbour": NearestNeighbour, "pca": PCA}
RESIDUAL = ScoringConfig(name="residual", factors=("residual",))
"""How baselines are scored; the pool is that of shortcuts too."""

Maps = Callable[[Tensor], Tensor]
"""From images (N, 1, S, S) to maps of the same shape."""


def evaluate_baselines(
    images: SiteImages, table: Table, progress: Callable[[str], None] = lambda _: None
) -> list[ResultRow]:
    """Rows of nearest neighbour, PCA residual and the shortcuts on the same images.

    A baseline that can't be had from these training images gets one row without a value, with the reason.
    """
    rows, cases = [], Cases.of(images, table.config.batch_size)
    for name, kind in BASELINES.items():
        progress(f"baseline: {name}")
        statistics = kind.statistics(batches(images.train, table.config.batch_size))
        try:
            fitted = kind.from_statistics(statistics)
        except ValueError as error:
            rows.append(table.row(name, RESIDUAL.name, "auroc", Estimate(None, None, None, 0, 0, str(error))))
        else:
            rows += _measure(partial(fitted.anomaly_map, scorer=_residual), name, RESIDUAL.name, images, cases, table)
    progress("shortcuts")
    for name, shortcut in SHORTCUTS.items():
        rows += _measure(shortcut, "shortcut", name, images, cases, table)
    return rows


def _measure(maps: Maps, method: str, scoring: str, images: SiteImages, cases: Cases, table: Table) -> list[ResultRow]:
    size = table.config.batch_size
    healthy = np.concatenate([image_scores(maps(x), RESIDUAL) for x in batches(images.val, size)])
    scores, known = [], []
    for start, x in enumerate(batches(images.test, size)):
        found = maps(x)
        scores.append(image_scores(found, RESIDUAL))
        known.append(found[cases.lesions.of_batch(start * size, len(x)), 0].numpy())
    threshold = image_threshold(healthy, table.config.image_fpr)
    rows = table.image_level(method, scoring, np.concatenate(scores), cases, threshold)
    return rows + table.pixel_level(method, scoring, np.concatenate(known), cases)


def _residual(x: Tensor, x_hat: Tensor) -> Tensor:
    return (x - x_hat).abs()
