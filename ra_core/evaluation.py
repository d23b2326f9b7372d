"""What a trained method finds on one site's test images, and how sure that is.

Nothing here is chosen on test images: scoring and thresholds come from healthy validation images (`selection.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ra_core.config import EvaluationConfig
from ra_core.data import SiteImages
from ra_core.groups import Cases
from ra_core.metrics import Estimate
from ra_core.models.method import Method, Reconstruction
from ra_core.results import ResultRow
from ra_core.rng import generator
from ra_core.scoring import Scorer, ScoringConfig
from ra_core.selection import choose_scoring, image_threshold, pixel_threshold, synthetic_auroc
from ra_core.site_scorer import SiteScorer, batches
from ra_core.synthetic import KINDS
from ra_core.table import Table
from ra_core.twins import healed, rebuilt

__all__ = ["CHOSEN_NOTE", "Evaluation", "evaluate", "reference_images"]

CHOSEN_NOTE = "scoring chosen on synthetic anomalies"
"""Remark of the rows of that scoring."""

NO_MAP = "not estimable: gives one number an image, no map"
"""Note of what can't be had of a method that doesn't localise."""

Progress = Callable[[str], None]
"""Told what is being done."""


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        rows: all numbers, ready for `results.csv`.
        chosen: the scoring chosen on synthetic anomalies.
        synthetic: mean AUROC on synthetic anomalies by scoring name.
        pixel_thresholds: by scoring name, the map value that `pixel_fpr` of healthy validation pixels exceed.
        image_thresholds: by scoring name, the image score that `image_fpr` of healthy validation images at most exceed.
        scorer: the method ready for this site.
        scores: image scores of the test images by name of the scorings shown, (N,).
        healthy: image scores of the validation images by scoring name, (N,).
    """

    rows: list[ResultRow]
    chosen: ScoringConfig
    synthetic: Mapping[str, float]
    pixel_thresholds: Mapping[str, float]
    image_thresholds: Mapping[str, float]
    scorer: SiteScorer
    scores: Mapping[str, np.ndarray]
    healthy: Mapping[str, np.ndarray]


def evaluate(
    method: Method,
    name: str,
    scorer: Scorer,
    images: SiteImages,
    table: Table,
    *,
    device: torch.device,
    scorings: Sequence[ScoringConfig] | None = None,
    known: bool = False,
    shown: Collection[str] | None = None,
    progress: Progress = lambda _: None,
) -> Evaluation:
    """Measure a method under all scorings and choose one of them.

    Args:
        method: trained.
        name: what the table calls it.
        scorer: makes maps from images and reconstructions.
        images: of the site.
        table: makes the rows.
        device: where the method is.
        scorings: to be measured; all of the method's if not given.
        known: whether it was trained on these training images. If it knows them by heart, scorings that are
            standardised by its maps of them are left out.
        shown: names of scorings that are measured on test images beside the chosen one; all if not given.
        progress: told what is being done.

    Raises:
        ValueError: too few healthy images to standardise or to choose, or a perceptual scoring without a network.
    """
    config, by_heart = table.config, known and method.memorises
    scorings = [s for s in scorings or method.scorings if not (s.standardise and by_heart)]
    progress("healthy reference maps")
    reference = reference_images(len(images.train), config, table.seed)
    site = SiteScorer.fit(method, scorer, scorings, batches(images.train, config.batch_size, reference), device)

    progress("synthetic anomalies on validation images")
    val = _on_validation(site, images.train.images(reference[:64]), images, table)

    progress("test images")
    tested = site if shown is None else site.only({*shown, val.chosen.name})
    scores, rows = _on_test(tested, name, images, table, val)
    if isinstance(method, Reconstruction):
        rows += rebuilt(site, name, images.test, table) + healed(site, name, images, table)
    for s in () if table.borrowed else scorings:  # they would look like the site's own
        told = "on validation images", _network(scorer, s)
        rows += [table.row(name, s.name, "auroc", val.auroc[s.name, k], f"synthetic: {k}", *told) for k in KINDS]
    thresholds = val.pixel_thresholds, val.image_thresholds
    return Evaluation(rows, val.chosen, val.synthetic, *thresholds, site, scores, val.healthy)


def reference_images(count: int, config: EvaluationConfig, seed: int) -> list[int]:
    """Which of `count` healthy training images set the scale of standardised maps, ascending; drawn by the seed."""
    order = torch.randperm(count, generator=generator(seed, "reference images")).tolist()
    return sorted(order[: config.reference_images])


class _Selected(NamedTuple):
    """What healthy validation images decide; fields as of `Evaluation`, and all AUROCs on synthetic anomalies."""

    auroc: Mapping[tuple[str, str], Estimate]
    chosen: ScoringConfig
    synthetic: Mapping[str, float]
    pixel_thresholds: Mapping[str, float]
    image_thresholds: Mapping[str, float]
    healthy: Mapping[str, np.ndarray]


def _on_validation(site: SiteScorer, others: Tensor, images: SiteImages, table: Table) -> _Selected:
    """Scoring and thresholds; `others` (M, 1, S, S) are healthy images that foreign pieces come from."""
    config, patients = table.config, [row.patient_id for row in images.val.rows]
    val = list(batches(images.val, config.batch_size))
    with site.scored(val) as healthy:
        pixel = {s.name: pixel_threshold(healthy.maps(s.name), config.pixel_fpr) for s in site.scorings}
    image = {name: image_threshold(scores, config.image_fpr) for name, scores in healthy.scores.items()}
    auroc = synthetic_auroc(site, val, healthy.scores, others, patients, table.settings)
    return _Selected(auroc, *choose_scoring(site.scorings, auroc), pixel, image, healthy.scores)


def _on_test(
    site: SiteScorer, name: str, images: SiteImages, table: Table, val: _Selected
) -> tuple[Mapping[str, np.ndarray], list[ResultRow]]:
    """Image scores by scoring name, and rows of images, pixels and boxes."""
    cases, rows = Cases.of(images, table.config.batch_size), []
    with site.scored(batches(images.test, table.config.batch_size), cases.of_batch) as test:
        for s in site.scorings:
            note = CHOSEN_NOTE if s == val.chosen else ""
            told = note, _network(site.scorer, s)
            rows += table.image_level(name, s.name, test.scores[s.name], cases, val.image_thresholds[s.name], *told)
            maps = test.maps(s.name).reshape(len(cases.mapped), *cases.lesions.masks.shape[1:])
            threshold = val.pixel_thresholds[s.name]
            places = table.pixel_level(name, s.name, maps[cases.with_lesions], cases, threshold, *told)
            places += table.box_level(name, s.name, maps[cases.with_boxes], cases, threshold, *told)
            rows += places if site.method.localises else [_untold(row) for row in places]
    return test.scores, rows


def _untold(row: ResultRow) -> ResultRow:
    """A row about places, of a method that tells none."""
    counts = row.estimate.n_healthy, row.estimate.n_anomalous
    return replace(row, estimate=Estimate(None, None, None, *counts, NO_MAP))


def _network(scorer: Scorer, scoring: ScoringConfig) -> str:
    """How rows name the perceptual network; empty where there is none, or where a scoring doesn't use it."""
    return scorer.perceptual.digest[:12] if scorer.perceptual and scoring.is_perceptual else ""
