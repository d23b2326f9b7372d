"""What simple methods and shortcuts find on the same images: a method that doesn't beat them has shown nothing.

Simple methods are scored as a trained one is: of the plain forms of the residual, one is chosen on synthetic anomalies.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch

from ra_core.data import SiteImages
from ra_core.evaluation import evaluate
from ra_core.glossary import SHORTCUT
from ra_core.groups import Cases
from ra_core.metrics import Estimate
from ra_core.models.configs import NearestNeighbourConfig, PCAConfig
from ra_core.models.method import FittedMethod
from ra_core.models.nearest_neighbour import NearestNeighbour
from ra_core.models.pca import PCA
from ra_core.results import ResultRow
from ra_core.scoring import SCORINGS, Scorer, ScoringConfig, image_scores
from ra_core.selection import image_threshold
from ra_core.shortcuts import SHORTCUTS, SLICE_HEIGHT
from ra_core.site_scorer import batches
from ra_core.table import Table

__all__ = ["BASELINES", "evaluate_baselines", "evaluate_shortcuts"]

BASELINES: dict[str, Callable[[int], FittedMethod]] = {
    "nearest_neighbour": lambda size: NearestNeighbour(NearestNeighbourConfig(), size),
    "pca": lambda size: PCA(PCAConfig(), size),
}
PLAIN = tuple(scoring for scoring in SCORINGS if scoring.factors in (("residual",), ("signed_residual",)))
MEAN = ScoringConfig(name="mean", factors=("residual",))
"""How the maps of shortcuts become image scores."""


def evaluate_baselines(
    images: SiteImages, table: Table, progress: Callable[[str], None] = lambda _: None, without: str = ""
) -> list[ResultRow]:
    """Rows of nearest neighbour, PCA residual and the shortcuts on the same images.

    A baseline that can't be had from these training images gets one row without a value, with the reason. One that is
    measured already, as the method in question, is left out by its name.
    """
    rows = []
    for name, build in BASELINES.items():
        if name == without:
            continue
        progress(f"baseline: {name}")
        fitted = build(images.test.preprocessing.size)
        try:
            fitted.fit(batches(images.train, table.config.batch_size))
        except ValueError as error:
            rows.append(table.row(name, PLAIN[0].name, "auroc", Estimate(None, None, None, 0, 0, str(error))))
            continue
        device = torch.device("cpu")
        rows += evaluate(fitted, name, Scorer(None), images, table, device=device, scorings=PLAIN, known=True).rows
    progress("shortcuts")
    return rows + evaluate_shortcuts(images, table)


def evaluate_shortcuts(images: SiteImages, table: Table) -> list[ResultRow]:
    """Rows of the shortcuts; of the slices' height only where it is known of all validation and test images."""
    cases = Cases.of(images, table.config.batch_size)
    rows = [row for name in SHORTCUTS for row in _shortcut(name, images, cases, table)]
    return rows + _slice_height(images, cases, table)


def _slice_height(images: SiteImages, cases: Cases, table: Table) -> list[ResultRow]:
    parts = []
    for part in (images.val, images.test):
        known = list(itertools.takewhile(lambda height: height is not None, part.heights()))
        if len(known) < len(part):
            return []
        parts.append(np.array(known, np.float64))
    healthy, scores = parts
    return table.image_level(SHORTCUT, SLICE_HEIGHT, scores, cases, image_threshold(healthy, table.config.image_fpr))


def _shortcut(name: str, images: SiteImages, cases: Cases, table: Table) -> list[ResultRow]:
    size, maps = table.config.batch_size, SHORTCUTS[name]
    healthy = np.concatenate([image_scores(maps(x), MEAN) for x in batches(images.val, size)])
    scores, known = [np.zeros(0)], [np.zeros((0, *cases.lesions.masks.shape[1:]), np.float32)]
    for start, x in enumerate(batches(images.test, size)):
        found = maps(x)
        scores.append(image_scores(found, MEAN))
        known.append(found[cases.of_batch(start * size, len(x)), 0].numpy())
    threshold = image_threshold(healthy, table.config.image_fpr)
    rows = table.image_level(SHORTCUT, name, np.concatenate(scores), cases, threshold)
    mapped = np.concatenate(known)
    rows += table.pixel_level(SHORTCUT, name, mapped[cases.with_lesions], cases)
    return rows + table.box_level(SHORTCUT, name, mapped[cases.with_boxes], cases)
