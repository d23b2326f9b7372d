"""Whether there are images enough for what is asked of them."""

from __future__ import annotations

from collections.abc import Iterator

from ra_core.data.checks.finding import Code, Finding, Level
from ra_core.data.checks.pictures import Pictures
from ra_core.data.manifest import LABELS
from ra_core.thresholds import patients_needed

__all__ = ["FEWEST", "check_enough"]

FEWEST = {"train": 8, "val": 4}
"""Fewer healthy images than these can't train or validate anything."""


def check_enough(pictures: Pictures, image_fpr: float) -> Iterator[Finding]:
    """Too few images to train or validate, too few patients for the threshold, or nothing to measure on."""
    for split, fewest in FEWEST.items():
        count = int((pictures.splits == split).sum())
        if count < fewest:
            message = f"{count} healthy {split} images: at least {fewest} are needed"
            yield Finding(Level.ERROR, Code.TOO_FEW, message, f"give more healthy images the split {split}")
    yield from _threshold(pictures, image_fpr)
    test = pictures.labels[pictures.splits == "test"]
    missing = [label for label in LABELS if label not in test]
    if missing:
        yield Finding(
            Level.INFO,
            Code.NOT_MEASURABLE,
            f"no {' and no '.join(missing)} test images: how well anomalies are found can't be measured here",
            f"give some {' and some '.join(missing)} images the split test, if there are any",
        )


def _threshold(pictures: Pictures, fpr: float) -> Iterator[Finding]:
    split = "calibration" if (pictures.splits == "calibration").any() else "val"
    found = len(set(pictures.patients[pictures.splits == split]))
    needed = patients_needed(fpr)
    if found < needed:
        yield Finding(
            Level.WARNING,
            Code.TOO_FEW_FOR_THRESHOLD,
            f"{found} healthy patients in {split}: a threshold for a false-alarm rate of {fpr:g} needs "
            f"ceil(1 / {fpr:g}) - 1 = {needed}",
            f"give more healthy patients the split {split}, or ask for a higher evaluation.image_fpr",
        )
