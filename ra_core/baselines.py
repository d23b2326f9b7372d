"""What simple methods and shortcuts find on the same images: a method that doesn't beat them has shown nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from ra_core.data import SiteImages
from ra_core.metrics import Estimate
from ra_core.models.method import FittedMethod
from ra_core.models.nearest import NearestNeighbour
from ra_core.models.pca import PCA
from ra_core.results import ResultRow
from ra_core.scoring import ScoringConfig, image_scores
from ra_core.shortcuts import SHORTCUTS
from ra_core.site_scorer import batches
from ra_core.table import Table

__all__ = ["BASELINES", "evaluate_baselines"]

BASELINES: dict[str, type[FittedMethod]] = {"nearest_neighbour": NearestNeighbour, "pca": PCA}
RESIDUAL = ScoringConfig(name="residual", factors=("residual",))
"""How baselines are scored."""


def evaluate_baselines(
    images: SiteImages, table: Table, progress: Callable[[str], None] = lambda _: None
) -> list[ResultRow]:
    """Rows of nearest neighbour, PCA residual and the shortcuts on the same images.

    A baseline that can't be had from these training images gets one row without a value, with the reason.
    """
    rows, size = [], table.config.batch_size
    for name, kind in BASELINES.items():
        progress(f"baseline: {name}")
        statistics = kind.statistics(batches(images.train, size))
        try:
            fitted = kind.from_statistics(statistics)
        except ValueError as error:
            rows.append(table.row(name, RESIDUAL.name, "auroc", Estimate(None, None, None, 0, 0, str(error))))
        else:
            rows += _baseline(fitted, name, images, table)
    progress("shortcuts")
    for name, shortcut in SHORTCUTS.items():
        scores = np.concatenate([shortcut(x).double().numpy() for x in batches(images.test, size)])
        rows += table.image_level("shortcut", name, scores, images.test.rows)
    return rows


def _baseline(fitted: FittedMethod, name: str, images: SiteImages, table: Table) -> list[ResultRow]:
    size, lesions = table.config.batch_size, images.lesions
    scores, maps = [], []
    for start, x in enumerate(batches(images.test, size)):
        found = fitted.anomaly_map(x, _residual)
        scores.append(image_scores(found, RESIDUAL))
        maps.append(found[lesions.of_batch(start * size, len(x)), 0].numpy())
    rows = table.image_level(name, RESIDUAL.name, np.concatenate(scores), images.test.rows)
    return rows + table.pixel_level(name, RESIDUAL.name, np.concatenate(maps), lesions)


def _residual(x: Tensor, x_hat: Tensor) -> Tensor:
    return (x - x_hat).abs()
