"""AUROC, average precision and Dice of images and of pixels, from one histogram of scores by patient and class.

Values are exact. Intervals are exact up to 4096 distinct scores, and come from that many quantile bins above. Only the
order of scores matters, except for a given threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Unpack

import numpy as np
from numpy.typing import ArrayLike

from ra_core.metrics.bootstrap import Estimate, Resampling, resample
from ra_core.metrics.counts import auroc, average_precision, dice_curve
from ra_core.metrics.inputs import BoolArray, FloatArray, finite
from ra_core.metrics.sample import Sample

__all__ = ["dice", "image_auprc", "image_auroc", "pixel_level"]


class _Measure(NamedTuple):
    """A number of healthy and anomalous items by bin, (..., K) each -> (...), NaN where undefined.

    Attributes:
        of_counts: the function.
        needs_healthy: whether it is undefined without a healthy item.
        joined: whether it is the same of joined bins (`Sample.joined`).
    """

    of_counts: Callable[[FloatArray, FloatArray], FloatArray]
    needs_healthy: bool = True
    joined: bool = False


def _flagged_dice(neg: FloatArray, pos: FloatArray) -> FloatArray:
    return dice_curve(neg, pos)[..., 1]


def _best_dice(neg: FloatArray, pos: FloatArray) -> FloatArray:
    best: FloatArray = dice_curve(neg, pos).max(axis=-1)
    return best


AUROC, AUPRC = _Measure(auroc), _Measure(average_precision, joined=True)
DICE, ORACLE_DICE = _Measure(_flagged_dice, needs_healthy=False), _Measure(_best_dice, needs_healthy=False, joined=True)


def image_auroc(
    scores: ArrayLike, labels: ArrayLike, patients: Sequence[str], **resampling: Unpack[Resampling]
) -> Estimate:
    """Area under the ROC curve of image scores, ties by mid-rank.

    Args:
        scores: (N,), higher is more anomalous, any unit.
        labels: (N,), 0 healthy, 1 anomalous.
        patients: N ids; the interval draws patients, with all their images.
        resampling: see `Resampling`.

    Raises:
        ValueError: a score is not finite, a label is neither 0 nor 1, or lengths differ.

    >>> image_auroc([1, 2, 2, 3], [0, 0, 1, 1], "abcd", bootstrap=100, confidence=0.95, seed=0).value
    0.875
    """
    return _estimate(Sample.of_images(scores, labels, patients), AUROC, resampling)


def image_auprc(
    scores: ArrayLike, labels: ArrayLike, patients: Sequence[str], **resampling: Unpack[Resampling]
) -> Estimate:
    """Average precision of image scores; arguments and errors as of `image_auroc`."""
    return _estimate(Sample.of_images(scores, labels, patients), AUPRC, resampling)


def dice(
    maps: ArrayLike,
    masks: BoolArray,
    patients: Sequence[str],
    threshold: float,
    **resampling: Unpack[Resampling],
) -> Estimate:
    """2 TP / (2 TP + FP + FN) over all pixels together, those above `threshold` (not at it) being flagged.

    Undefined without an anomalous pixel; the interval is exact too. Arguments and errors as of `pixel_level`, and the
    threshold must be finite.
    """
    limit = float(finite(threshold, "thresholds"))
    sample = Sample.of_pixels(maps, masks, patients, rank=lambda values: ((values > limit).astype(np.int64), 2))
    return _estimate(sample, DICE, resampling)


def pixel_level(
    maps: ArrayLike,
    masks: BoolArray,
    patients: Sequence[str],
    threshold: float | None = None,
    groups: Mapping[str, BoolArray] | None = None,
    **resampling: Unpack[Resampling],
) -> dict[tuple[str, str], Estimate]:
    """All metrics of pixels, by (metric, group), with the pixels of all images sorted once.

    Of the group "all": `pixel_auroc`, the area under the ROC curve; `pixel_auprc`, average precision; `oracle_dice`,
    Dice at the best of all thresholds, an oracle, for it looks at the masks that it is measured on; and `dice` where a
    threshold is given. Of each further group `pixel_auprc`. Values are exact; intervals, but of `dice`, come from at
    most 4096 quantile bins a patient, among which each resample of `oracle_dice` picks its own threshold.

    Args:
        maps: (N, H, W), higher is more anomalous, any unit.
        masks: (N, H, W) bool, true where anomalous; an image without such a pixel counts as healthy.
        patients: N ids; the interval draws patients, with all their images.
        threshold: as of `dice`.
        groups: by name, (N,), the images that belong to it: anomalous ones and the healthy ones they stand against.
        resampling: see `Resampling`.

    Raises:
        ValueError: a map value or the threshold is not finite, masks are not bool, or shapes differ.
    """
    sample = Sample.of_pixels(maps, masks, patients)
    measures = {"pixel_auroc": AUROC, "pixel_auprc": AUPRC, "oracle_dice": ORACLE_DICE}
    estimates = _estimates(sample, list(measures.values()), resampling)
    found = {(name, "all"): estimate for name, estimate in zip(measures, estimates, strict=True)}
    if threshold is not None:
        found["dice", "all"] = dice(maps, masks, patients, threshold, **resampling)
    for name, images in (groups or {}).items():
        found["pixel_auprc", name] = _estimate(sample.of(images), AUPRC, resampling)
    return found


def _estimate(sample: Sample, measure: _Measure, resampling: Resampling) -> Estimate:
    return _estimates(sample, [measure], resampling)[0]


def _estimates(sample: Sample, measures: Sequence[_Measure], resampling: Resampling) -> list[Estimate]:
    """One for each measure; patients are drawn and counted once for all."""
    counts = sample.n_healthy, sample.n_anomalous
    reasons = [sample.missing(needs_healthy=measure.needs_healthy) for measure in measures]
    if all(reasons):
        return [Estimate(None, None, None, *counts, f"not estimable: {reason}") for reason in reasons]
    tables = {way: sample.joined if way else sample.by_patient for way in {measure.joined for measure in measures}}

    def of_drawn(drawn: FloatArray) -> FloatArray:
        counts_by = {way: (drawn @ neg, drawn @ pos) for way, (neg, pos) in tables.items()}
        return np.stack([measure.of_counts(*counts_by[measure.joined]) for measure in measures])

    resampled = resample(of_drawn, sample.n_patients, resampling)
    return [
        Estimate(None, None, None, *counts, f"not estimable: {reason}")
        if reason
        else Estimate.of(float(measure.of_counts(*sample.totals)), values, resampling["confidence"], counts)
        for measure, reason, values in zip(measures, reasons, resampled, strict=True)
    ]
