"""What a trained method finds on one site's test images, and how sure that is.

Nothing here is chosen on test images: scoring and thresholds come from healthy validation images (`selection.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

import numpy as np
import torch
from torch import Tensor

from ra_core import metrics
from ra_core.data import ImageSet, KnownMasks, SiteImages
from ra_core.models.method import Method
from ra_core.results import ResultRow
from ra_core.rng import generator
from ra_core.scoring import SCORINGS, Scorer, ScoringConfig, image_scores
from ra_core.selection import choose_scoring, map_thresholds, synthetic_auroc
from ra_core.site_scorer import SiteScorer, batches
from ra_core.table import Table, patients_of

__all__ = ["Evaluation", "evaluate"]

Progress = Callable[[str], None]
"""Told what is being done."""


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
    auroc = synthetic_auroc(site, val, others, patients_of(images.val.rows), table.settings)
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
