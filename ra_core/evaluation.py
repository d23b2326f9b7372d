"""What a trained method finds on one site's test images, how sure that is, and what simpler means find there.

Nothing here is chosen on test images: scoring and thresholds come from healthy validation images (`selection.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from tempfile import TemporaryFile
from typing import IO

import numpy as np
import torch
from torch import Tensor

from ra_core import metrics
from ra_core.config import EvaluationConfig
from ra_core.data import ImageSet
from ra_core.data.manifest import Row
from ra_core.metrics import Estimate, Resampling
from ra_core.models.method import FittedMethod, Method
from ra_core.models.nearest import NearestNeighbour
from ra_core.models.pca import PCA
from ra_core.results import ResultRow
from ra_core.rng import generator
from ra_core.scoring import SCORINGS, Scorer, ScoringConfig, image_scores
from ra_core.selection import choose_scoring, map_thresholds, synthetic_auroc
from ra_core.shortcuts import SHORTCUTS
from ra_core.site_scorer import SiteScorer, batches

__all__ = ["Evaluation", "KnownMasks", "SiteImages", "Table", "evaluate", "evaluate_baselines"]

SMALLEST_GROUP = 10
"""A pathology with fewer test images gets no row of its own."""

Progress = Callable[[str], None]
"""Told what is being done."""

BASELINES: dict[str, type[FittedMethod]] = {"nearest_neighbour": NearestNeighbour, "pca": PCA}
RESIDUAL = ScoringConfig(name="residual", factors=("residual",))
"""How baselines are scored."""


@dataclass(frozen=True)
class KnownMasks:
    """Lesions of the images that pixels are measured on: those whose lesions, or health, are known.

    Attributes:
        indices: K images of the test set, ascending.
        masks: bool (K, S, S).
        patients: K ids.
    """

    indices: list[int]
    masks: np.ndarray
    patients: list[str]

    @classmethod
    def of(cls, test: ImageSet) -> KnownMasks:
        """All that are known; none if no lesion is."""
        masks = test.masks(range(len(test)))
        known = [index for index, mask in enumerate(masks) if mask is not None]
        if not any(test.rows[index].label == "anomalous" for index in known):
            known = []
        found = [np.asarray(masks[index]) for index in known]
        none = np.zeros((0, test.preprocessing.size, test.preprocessing.size), bool)
        return cls(known, np.stack(found) if found else none, [test.rows[index].patient_id for index in known])

    def of_batch(self, start: int, size: int) -> list[int]:
        """Places in a batch of `size` images that begins at image `start`."""
        return [index - start for index in self.indices if start <= index < start + size]


@dataclass(frozen=True)
class SiteImages:
    """One site's images by split: train and val are healthy, test is healthy and anomalous."""

    site: str
    train: ImageSet
    val: ImageSet
    test: ImageSet

    @cached_property
    def lesions(self) -> KnownMasks:
        """Of the test images; each mask file is read once."""
        return KnownMasks.of(self.test)


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
        self,
        method: str,
        scoring: str,
        metric: str,
        estimate: Estimate,
        anomaly: str = "all",
        note: str = "",
        perceptual: str = "",
    ) -> ResultRow:
        """One row."""
        return ResultRow.of(
            estimate,
            note,
            arm=self.arm,
            method=method,
            scoring=scoring,
            perceptual=perceptual,
            train_sites=self.train_sites,
            test_site=self.test_site,
            anomaly=anomaly,
            metric=metric,
            seed=self.seed,
        )

    def image_level(
        self,
        method: str,
        scoring: str,
        scores: np.ndarray,
        rows: Sequence[Row],
        note: str = "",
        perceptual: str = "",
    ) -> list[ResultRow]:
        """AUROC and AUPRC of all anomalous images, and AUROC of each frequent pathology against all healthy ones."""
        labels, patients = _labels(rows), _patients(rows)
        found = [
            ("auroc", "all", metrics.image_auroc(scores, labels, patients, **self.settings)),
            ("auprc", "all", metrics.image_auprc(scores, labels, patients, **self.settings)),
        ]
        for pathology in _frequent_pathologies(rows):
            keep = np.array([row.label == "healthy" or row.pathology == pathology for row in rows])
            some = [p for p, kept in zip(patients, keep, strict=True) if kept]
            found.append(("auroc", pathology, metrics.image_auroc(scores[keep], labels[keep], some, **self.settings)))
        return [self.row(method, scoring, metric, e, anomaly, note, perceptual) for metric, anomaly, e in found]

    def pixel_level(
        self,
        method: str,
        scoring: str,
        maps: np.ndarray,
        lesions: KnownMasks,
        threshold: float | None = None,
        note: str = "",
        perceptual: str = "",
    ) -> list[ResultRow]:
        """Pixel AUROC and AUPRC, oracle Dice, and Dice where a threshold is given, of maps (K, S, S)."""
        found = metrics.pixel_level(maps, lesions.masks, lesions.patients, threshold, **self.settings)
        return [self.row(method, scoring, metric, e, "all", note, perceptual) for metric, e in found.items()]


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

    Raises:
        ValueError: too few healthy images to standardise or to choose, or a perceptual scoring without a network.
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
    network = {s.name: _network(scorer) if s.is_perceptual else "" for s in scorings}
    scores, rows = _test(site, name, images, table, chosen, thresholds, network)
    rows += _reconstruction(site, name, images.test, table)
    rows += [
        table.row(name, s, "auroc", found, f"synthetic: {kind}", "on validation images", network[s])
        for (s, kind), found in auroc.items()
    ]
    return Evaluation(rows, chosen, means, thresholds, site, scores)


def evaluate_baselines(images: SiteImages, table: Table, progress: Progress = lambda _: None) -> list[ResultRow]:
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


def _test(
    site: SiteScorer,
    name: str,
    images: SiteImages,
    table: Table,
    chosen: ScoringConfig,
    thresholds: Mapping[str, float],
    network: Mapping[str, str],
) -> tuple[dict[str, np.ndarray], list[ResultRow]]:
    """Image scores by scoring name, and rows of images and pixels.

    Exact pixel metrics need all maps of a scoring at once; the other scorings' maps wait in nameless temporary files.
    """
    rows, lesions = [], images.lesions
    with ExitStack() as stack:
        files = {s.name: stack.enter_context(TemporaryFile()) for s in site.scorings}
        scores = _score_test(site, images.test, lesions, table.config.batch_size, files)
        for s, file in files.items():
            note = "scoring chosen on synthetic anomalies" if s == chosen.name else ""
            rows += table.image_level(name, s, scores[s], images.test.rows, note, network[s])
            file.seek(0)
            maps = np.fromfile(file, np.float32).reshape(lesions.masks.shape)
            rows += table.pixel_level(name, s, maps, lesions, thresholds[s], note, network[s])
    return scores, rows


def _score_test(
    site: SiteScorer, test: ImageSet, lesions: KnownMasks, size: int, files: Mapping[str, IO[bytes]]
) -> dict[str, np.ndarray]:
    """Scores of all test images; maps of those with known lesions go to the files, float32 one after another."""
    scores: dict[str, list[np.ndarray]] = {s.name: [] for s in site.scorings}
    for start, x in enumerate(batches(test, size)):
        keep = lesions.of_batch(start * size, len(x))
        found = site.maps(x)
        for s in site.scorings:
            scores[s.name].append(image_scores(found[s.name], s))
            found[s.name][keep, 0].numpy().tofile(files[s.name])
    return {name: np.concatenate(parts) for name, parts in scores.items()}


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
    network = {"lpips": _network(site.scorer)}
    return [
        table.row(name, "reconstruction", metric, e, "healthy", perceptual=network.get(metric, ""))
        for metric, e in found.items()
    ]


def _squared_errors(x: Tensor, y: Tensor) -> np.ndarray:
    return (x.double() - y.double()).square().flatten(1).mean(1).numpy()


def _network(scorer: Scorer) -> str:
    """How rows name the perceptual network; empty where there is none."""
    return scorer.perceptual.digest[:12] if scorer.perceptual else ""


def _labels(rows: Sequence[Row]) -> np.ndarray:
    return np.array([row.label == "anomalous" for row in rows], int)


def _patients(rows: Sequence[Row]) -> list[str]:
    return [row.patient_id for row in rows]


def _frequent_pathologies(rows: Sequence[Row]) -> list[str]:
    counts = Counter(row.pathology for row in rows if row.pathology and row.label == "anomalous")
    return sorted(name for name, count in counts.items() if count >= SMALLEST_GROUP) if len(counts) > 1 else []


def _residual(x: Tensor, x_hat: Tensor) -> Tensor:
    return (x - x_hat).abs()
