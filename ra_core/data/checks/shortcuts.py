"""Plain numbers that tell healthy from anomalous test images: a method that only follows them has learned nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ra_core.data.checks.finding import Code, Finding, Level
from ra_core.data.checks.pictures import Pictures
from ra_core.metrics import image_auroc

__all__ = ["check_shortcuts"]

FAIR = (0.3, 0.7)
"""AUROC of a plain number is no shortcut while its interval reaches into this range."""

FEWEST = 6
"""Patients of each label. One of five numbers tells 6 from 6 perfectly by chance in one of a hundred sites."""

RESAMPLES = 400


def check_shortcuts(pictures: Pictures) -> Iterator[Finding]:
    """Statistics whose AUROC on the test split is sure to be far from 0.5, either way round."""
    test = np.flatnonzero(pictures.splits == "test")
    labels = (pictures.labels[test] == "anomalous").astype(int)
    patients = pictures.patients[test]
    if min(len(set(patients[labels == label])) for label in (0, 1)) < FEWEST:
        return
    told = []
    for name, values in pictures.numbers(test).items():
        e = image_auroc(values, labels, patients.tolist(), bootstrap=RESAMPLES, confidence=0.95, seed=0)
        if e.value is None or e.ci_low is None or e.ci_high is None:
            continue
        if e.ci_low > FAIR[1] or e.ci_high < FAIR[0]:
            told.append(f"{name} (AUROC {e.value:.2f}, interval {e.ci_low:.2f} to {e.ci_high:.2f})")
    if told:
        yield Finding(
            Level.WARNING,
            Code.SHORTCUT,
            f"a plain number of the picture tells healthy from anomalous test images: {', '.join(told)}",
            "take healthy and anomalous images from one machine and export; until then quote no image-level scores",
        )
