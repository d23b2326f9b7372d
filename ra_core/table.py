"""From scores and maps to rows: what is measured on a site's images, and with which interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ra_core import metrics
from ra_core.config import EvaluationConfig
from ra_core.data import KnownMasks
from ra_core.data.manifest import Row
from ra_core.metrics import Estimate, Resampling
from ra_core.results import ResultRow

__all__ = ["SMALLEST_GROUP", "Table", "patients_of"]

SMALLEST_GROUP = 10
"""A pathology with fewer test images gets no row of its own."""


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
        labels, patients = _labels(rows), patients_of(rows)
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


def _labels(rows: Sequence[Row]) -> np.ndarray:
    return np.array([row.label == "anomalous" for row in rows], int)


def patients_of(rows: Sequence[Row]) -> list[str]:
    """The patient of each row."""
    return [row.patient_id for row in rows]


def _frequent_pathologies(rows: Sequence[Row]) -> list[str]:
    counts = Counter(row.pathology for row in rows if row.pathology and row.label == "anomalous")
    return sorted(name for name, count in counts.items() if count >= SMALLEST_GROUP) if len(counts) > 1 else []
