"""From scores and maps to rows: what is measured on a site's images, and with which interval."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress

import numpy as np

from ra_core import metrics
from ra_core.config import EvaluationConfig
from ra_core.groups import Cases
from ra_core.metrics import Estimate, Resampling
from ra_core.results import ResultRow

__all__ = ["Table"]


@dataclass(frozen=True)
class Table:
    """Makes rows that share their arm, sites and seed, and measures with the study's bootstrap.

    Attributes:
        arm, train_sites, test_site, seed: as of `ResultRow`.
        config: how is measured.
        note: joined to the note of every row, as "healthy reference images of nih".
        borrowed: the healthy reference images are another site's; then nothing measured on them is told as this site's.
    """

    arm: str
    train_sites: str
    test_site: str
    seed: int
    config: EvaluationConfig
    note: str = ""
    borrowed: bool = False

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
        return ResultRow(
            arm=self.arm,
            method=method,
            scoring=scoring,
            perceptual=perceptual,
            train_sites=self.train_sites,
            test_site=self.test_site,
            anomaly=anomaly,
            metric=metric,
            estimate=estimate,
            seed=self.seed,
            remark="; ".join(part for part in (self.note, note) if part),
        )

    def image_level(
        self,
        method: str,
        scoring: str,
        scores: np.ndarray,
        cases: Cases,
        threshold: float,
        note: str = "",
        perceptual: str = "",
    ) -> list[ResultRow]:
        """AUROC, AUPRC, and the rates of scores (N,) above a threshold; AUROC and detection rate of each group.

        A group is measured against all healthy images.
        """
        labels, patients = cases.anomalous, cases.patients
        found = [
            ("auroc", "all", metrics.image_auroc(scores, labels, patients, **self.settings)),
            ("auprc", "all", metrics.image_auprc(scores, labels, patients, **self.settings)),
            ("detection_rate", "all", metrics.detection_rate(scores, labels, patients, threshold, **self.settings)),
            ("false_alarm_rate", "all", metrics.false_alarm_rate(scores, labels, patients, threshold, **self.settings)),
        ]
        for group, images in cases.groups.items():
            keep = images | ~labels
            some = scores[keep], labels[keep], list(compress(patients, keep))
            found.append(("auroc", group, metrics.image_auroc(*some, **self.settings)))
            found.append(("detection_rate", group, metrics.detection_rate(*some, threshold, **self.settings)))
        return [self.row(method, scoring, metric, e, group, note, perceptual) for metric, group, e in found]

    def pixel_level(
        self,
        method: str,
        scoring: str,
        maps: np.ndarray,
        cases: Cases,
        threshold: float | None = None,
        note: str = "",
        perceptual: str = "",
    ) -> list[ResultRow]:
        """Pixel AUROC, AUPRC, oracle Dice, and Dice at a threshold if any, of maps (K, S, S); AUPRC of each group."""
        lesions, groups = cases.lesions, cases.pixel_groups
        found = metrics.pixel_level(maps, lesions.masks, lesions.patients, threshold, groups, **self.settings)
        return [self.row(method, scoring, metric, e, group, note, perceptual) for (metric, group), e in found.items()]

    def box_level(
        self,
        method: str,
        scoring: str,
        maps: np.ndarray,
        cases: Cases,
        threshold: float | None = None,
        note: str = "",
        perceptual: str = "",
    ) -> list[ResultRow]:
        """How well maps (K, S, S) of the images with boxes mark these: see `metrics.box_level`; none without boxes."""
        if not cases.boxes.indices:
            return []
        boxes, patients = cases.boxes.boxes, cases.boxes.patients
        found = metrics.box_level(maps, boxes, patients, threshold, cases.box_groups, **self.settings)
        return [self.row(method, scoring, metric, e, group, note, perceptual) for (metric, group), e in found.items()]
