"""Whether there are images enough for what is asked of them."""

from __future__ import annotations

from collections.abc import Iterator

from ra_core.data.checks.finding import Code, Finding, Level
from ra_core.data.checks.pictures import Pictures
from ra_core.data.manifest import LABELS
from ra_core.data.site_images import FEWEST, is_kept_back, sets_thresholds
from ra_core.thresholds import patients_lacking, patients_needed

__all__ = ["check_enough", "check_kept_back"]


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


def check_kept_back(pictures: Pictures) -> Iterator[Finding]:
    """Too few to choose a model, where a study with `calibration` keeps validation patients back; none can't join."""
    patients = pictures.patients[pictures.splits == "val"]
    left = sum(not is_kept_back(patient) for patient in patients)
    if left >= FEWEST["val"] or not len(patients) or (pictures.splits == "calibration").any():
        return
    yield Finding(
        Level.WARNING if left else Level.ERROR,
        Code.TOO_FEW,
        f"{left} of {len(patients)} healthy val images are left to choose the model: the study keeps the "
        "patients of the others back for calibration",
        "give some healthy patients the split calibration, so that none of val is kept back, or more the split val",
    )


def _threshold(pictures: Pictures, fpr: float) -> Iterator[Finding]:
    """Of the patients who would set one: `ra-client calibrate` lets others try it, and keeps some of val back."""
    own = (pictures.splits == "calibration").any()
    split = "calibration" if own else "val"
    patients = set(pictures.patients[pictures.splits == split])
    found = sum(sets_thresholds(patient) and (own or is_kept_back(patient)) for patient in patients)
    if patients_lacking(found, fpr, 0.5):
        more = f"{patients_lacking(found, fpr, 0.5)} more" if own else f"{patients_lacking(0, fpr, 0.5)}"
        yield Finding(
            Level.WARNING,
            Code.TOO_FEW_FOR_THRESHOLD,
            f"{found} of {len(patients)} healthy patients in {split} would set thresholds, the others try them or "
            f"choose the model: a false-alarm rate of {fpr:g} needs ceil(1 / {fpr:g}) - 1 = {patients_needed(fpr)}",
            f"give about {more} healthy patients the split calibration, or ask for a higher evaluation.image_fpr",
        )
