"""What a trained method finds on one site's test images, how sure that is, and what simpler means find there.

Nothing here is chosen on test images: scoring and thresholds come from healthy validation images (`selection.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ra_core import metrics
from ra_core.config import EvaluationConfig
from ra_core.data import ImageSet
from ra_core.data.manifest import Row
from ra_core.metrics import Estimate, Resampling
from ra_core.models.method import Method
from ra_core.models.nearest import NearestNeighbour
from ra_core.models.pca import PCA
from ra_core.results import ResultRow
from ra_core.rng import generator
from ra_core.scoring import SCORINGS, Scorer, ScoringConfig, image_scores
from ra_core.selection import choose_scoring, map_thresholds, synthetic_auroc
from ra_core.shortcuts import SHORTCUTS
from ra_core.site_scorer import SiteScorer, batches

__all__ = ["Evaluation", "SiteImages", "Table", "evaluate", "evaluate_baselines"]

SMALLEST_GROUP = 10
"""A pathology with fewer test images gets no row of its own."""

Progress = Callable[[str], None]
"""Told what is being done."""


@dataclass(frozen=True)
class SiteImages:
    """One site's images by split: train and val are healthy, test is healthy and anomalous."""

    site: str
    train: ImageSet
    val: ImageSet
    test: ImageSet


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        rows: all numbers, ready for `results.csv`.
        chosen: the scoring chosen on synthetic anomalies.
        synthetic: mean AUROC on synthetic anomalies by scoring name.
        thresholds: by scoring name, the map value that `pixel_fpr` of healthy validation pixels exceed.
        scorer: the method ready for this site.
        scores: image scores of the test images by scoring name, (N,).
    """

    rows: list[ResultRow]
    chosen: ScoringConfig
    synthetic: Mapping[str, float]
    thresholds: Mapping[str, float]
    scorer: SiteScorer
    scores: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Table:
    """Makes rows that share their arm, sites and seed, and measures with the study's bootstrap."""

    arm: str
    train_sites: str
    test_site: str
    seed: int
    config: EvaluationConfig

    @property
    def settings(self) -> Resampling:
        """How every metric makes its interval."""
        return Resampling(bootstrap=self.config.bootstrap, confidence=self.config.confidence, seed=self.seed)

    def row(
        self, method: str, scoring: str, metric: str, estimate: Estimate, anomaly: str = "all", note: str = ""
    ) -> ResultRow:
        """One row."""
        return ResultRow.of(
            estimate,
            note,
            arm=self.arm,
            method=method,
            scoring=scoring,
            train_sites=self.train_sites,
            test_site=self.test_site,
            anomaly=anomaly,
            metric=metric,
            seed=self.seed,
        )

    def image_level(
        self, method: str, scoring: str, scores: np.ndarray, rows: Sequence[Row], note: str = ""
    ) -> list[ResultRow]:
        """AUROC and AUPRC of all anomalous images, and AUROC of each frequent pathology against all healthy ones."""
        labels, patients = _labels(rows), _patients(rows)
        out = [
            self.row(
                method, scoring, "auroc", metrics.image_auroc(scores, labels, patients, **self.settings), note=note
            ),
            self.row(
                method, scoring, "auprc", metrics.image_auprc(scores, labels, patients, **self.settings), note=note
            ),
        ]
        for pathology in _frequent_pathologies(rows):
            keep = np.array([row.label == "healthy" or row.pathology == pathology for row in rows])
            some = [p for p, kept in zip(patients, keep, strict=True) if kept]
            estimate = metrics.image_auroc(scores[keep], labels[keep], some, **self.settings)
            out.append(self.row(method, scoring, "auroc", estimate, anomaly=pathology, note=note))
        return out

    def pixel_level(
        self,
        method: str,
        scoring: str,
        maps: np.ndarray,
        masks: np.ndarray,
        patients: Sequence[str],
        threshold: float | None = None,
        note: str = "",
    ) -> list[ResultRow]:
        """Pixel AUROC and AUPRC, oracle Dice, and Dice where a threshold is given."""
        found = {
            "pixel_auroc": metrics.pixel_auroc(maps, masks, patients, **self.settings),
            "pixel_auprc": metrics.pixel_auprc(maps, masks, patients, **self.settings),
            "oracle_dice": metrics.oracle_dice(maps, masks, patients, **self.settings),
        }
        if threshold is not None:
            found["dice"] = metrics.dice(maps, masks, patients, threshold, **self.settings)
        return [self.row(method, scoring, metric, estimate, note=note) for metric, estimate in found.items()]


def evaluate(
    method: Method,
    name: str,
    scorer: Scorer,
    images: SiteImages,
    table: Table,
    *,
    device: torch.device,
    scorings: Sequence[ScoringConfig] = SCORINGS,
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
        scorings: to be measured.
        progress: told what is being done.
    """
    config = table.config
    progress("healthy reference maps")
    reference = torch.randperm(len(images.train), generator=generator(table.seed, "reference images")).tolist()
    reference = sorted(reference[: config.reference_images])
    site = SiteScorer.fit(method, scorer, scorings, batches(images.train, config.batch_size, reference), device)

    progress("synthetic anomalies on validation images")
    val = list(batches(images.val, config.batch_size))
    others = images.train.images(reference[:64])
    auroc = synthetic_auroc(site, val, others, _patients(images.val.rows), table.settings)
    chosen, means = choose_scoring(scorings, auroc)
    thresholds = map_thresholds(site, val, config.pixel_fpr)

    progress("test images")
    scores, maps, masks, patients = _score_test(site, images.test, config.batch_size)
    rows = []
    for s in scorings:
        note = "scoring chosen on synthetic anomalies" if s.name == chosen.name else ""
        rows += table.image_level(name, s.name, scores[s.name], images.test.rows, note)
        rows += table.pixel_level(name, s.name, maps[s.name], masks, patients, thresholds[s.name], note)
    rows += _reconstruction(site, name, images.test, table)
    on_val = "on validation images"
    rows += [table.row(name, s, "auroc", found, f"synthetic: {kind}", on_val) for (s, kind), found in auroc.items()]
    return Evaluation(rows, chosen, means, thresholds, site, scores)


def evaluate_baselines(images: SiteImages, table: Table, progress: Progress = lambda _: None) -> list[ResultRow]:
    """Rows of nearest neighbour, PCA residual and the shortcuts on the same images."""
    rows, size = [], table.config.batch_size
    for name, kind in (("nearest_neighbour", NearestNeighbour), ("pca", PCA)):
        progress(f"baseline: {name}")
        fitted = kind.from_statistics(kind.statistics(batches(images.train, size)))
        plain = ScoringConfig(name="residual", factors=("residual",))
        maps = [fitted.anomaly_map(x, _residual) for x in batches(images.test, size)]
        scores = np.concatenate([image_scores(m, plain) for m in maps])
        rows += table.image_level(name, "residual", scores, images.test.rows)
        known, masks, patients = _known_masks(images.test)
        pooled = torch.cat(maps)[known, 0].numpy()
        rows += table.pixel_level(name, "residual", pooled, masks, patients)
    progress("shortcuts")
    for name, shortcut in SHORTCUTS.items():
        scores = np.concatenate([shortcut(x).double().numpy() for x in batches(images.test, size)])
        rows += table.image_level("shortcut", name, scores, images.test.rows)
    return rows


def _score_test(
    site: SiteScorer, test: ImageSet, size: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray, list[str]]:
    """Scores of all test images; maps, masks and patients of those whose lesions, or health, are known."""
    known, masks, patients = _known_masks(test)
    scores: dict[str, list[np.ndarray]] = {s.name: [] for s in site.scorings}
    maps: dict[str, list[np.ndarray]] = {s.name: [] for s in site.scorings}
    for start, x in enumerate(batches(test, size)):
        keep = [index - start * size for index in known if start * size <= index < start * size + len(x)]
        found = site.maps(x)
        for s in site.scorings:
            scores[s.name].append(image_scores(found[s.name], s))
            maps[s.name].append(found[s.name][keep, 0].numpy())
    return _joined(scores), _joined(maps), masks, patients


def _reconstruction(site: SiteScorer, name: str, test: ImageSet, table: Table) -> list[ResultRow]:
    """SSIM, LPIPS and squared error of healthy reconstructions."""
    healthy = [index for index, row in enumerate(test.rows) if row.label == "healthy"]
    patients = [test.rows[index].patient_id for index in healthy]
    x = test.images(healthy)
    x_hat = torch.cat([x[:0], *(site.reconstruct(b) for b in batches(test, table.config.batch_size, healthy))])
    found = {
        "ssim": metrics.ssim(x[:, 0].numpy(), x_hat[:, 0].numpy(), patients, **table.settings),
        "squared_error": metrics.mean_estimate(_squared_errors(x, x_hat), patients, **table.settings),
    }
    perceptual = site.scorer.perceptual
    if perceptual is not None:
        starts = range(0, len(x), table.config.batch_size)
        parts = [slice(start, start + table.config.batch_size) for start in starts]
        lpips = np.concatenate([np.zeros(0), *(perceptual.distance(x[p], x_hat[p]).cpu().numpy() for p in parts)])
        found["lpips"] = metrics.mean_estimate(lpips, patients, **table.settings)
    return [table.row(name, "reconstruction", metric, e, "healthy") for metric, e in found.items()]


def _squared_errors(x: Tensor, y: Tensor) -> np.ndarray:
    return (x.double() - y.double()).square().flatten(1).mean(1).numpy()


def _known_masks(test: ImageSet) -> tuple[list[int], np.ndarray, list[str]]:
    """Indices of images whose lesion mask is known, their masks (K, S, S), and patients; none if no lesion is known."""
    masks = test.masks(range(len(test)))
    known = [index for index, mask in enumerate(masks) if mask is not None]
    if not any(test.rows[index].label == "anomalous" for index in known):
        known = []
    found = [np.asarray(masks[index]) for index in known]
    none = np.zeros((0, test.preprocessing.size, test.preprocessing.size), bool)
    return known, np.stack(found) if found else none, [test.rows[i].patient_id for i in known]


def _labels(rows: Sequence[Row]) -> np.ndarray:
    return np.array([row.label == "anomalous" for row in rows], int)


def _patients(rows: Sequence[Row]) -> list[str]:
    return [row.patient_id for row in rows]


def _frequent_pathologies(rows: Sequence[Row]) -> list[str]:
    counts = Counter(row.pathology for row in rows if row.pathology and row.label == "anomalous")
    return sorted(name for name, count in counts.items() if count >= SMALLEST_GROUP) if len(counts) > 1 else []


def _joined(parts: Mapping[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate(found) for name, found in parts.items()}


def _residual(x: Tensor, x_hat: Tensor) -> Tensor:
    return (x - x_hat).abs()
