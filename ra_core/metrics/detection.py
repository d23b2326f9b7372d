"""AUROC, average precision and Dice of images and of pixels, from one histogram of scores by patient and class.

Values are exact. Intervals are exact up to 4096 distinct scores, and come from that many quantile bins above. Only the
order of scores matters, except for a given threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike

from ra_core.metrics.bootstrap import Estimate, Resampling, interval
from ra_core.metrics.counts import auroc, average_precision, dice_curve
from ra_core.metrics.inputs import BoolArray, FloatArray, finite
from ra_core.metrics.sample import Sample

__all__ = ["dice", "image_auprc", "image_auroc", "oracle_dice", "pixel_auprc", "pixel_auroc", "pixel_level"]

Statistic = Callable[[FloatArray, FloatArray], FloatArray]


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
    return _estimate(Sample.of_images(scores, labels, patients), auroc, resampling)


def image_auprc(
    scores: ArrayLike, labels: ArrayLike, patients: Sequence[str], **resampling: Unpack[Resampling]
) -> Estimate:
    """Average precision of image scores; arguments and errors as of `image_auroc`."""
    return _estimate(Sample.of_images(scores, labels, patients), average_precision, resampling)


def pixel_auroc(
    maps: ArrayLike, masks: BoolArray, patients: Sequence[str], **resampling: Unpack[Resampling]
) -> Estimate:
    """Area under the ROC curve of all pixels of all images together.

    The value is exact; its interval comes from at most 4096 quantile bins a patient.

    Args:
        maps: (N, H, W), higher is more anomalous, any unit.
        masks: (N, H, W) bool, true where anomalous; an image without such a pixel counts as healthy.
        patients: N ids; the interval draws patients, with all their images.
        resampling: see `Resampling`.

    Raises:
        ValueError: a map value is not finite, masks are not bool, or shapes differ.
    """
    return _estimate(Sample.of_pixels(maps, masks, patients), auroc, resampling)


def pixel_auprc(
    maps: ArrayLike, masks: BoolArray, patients: Sequence[str], **resampling: Unpack[Resampling]
) -> Estimate:
    """Average precision of all pixels together; arguments, interval and errors as of `pixel_auroc`."""
    return _estimate(Sample.of_pixels(maps, masks, patients), average_precision, resampling)


def dice(
    maps: ArrayLike,
    masks: BoolArray,
    patients: Sequence[str],
    threshold: float,
    **resampling: Unpack[Resampling],
) -> Estimate:
    """2 TP / (2 TP + FP + FN) over all pixels together, those above `threshold` (not at it) being flagged.

    Undefined without an anomalous pixel. Arguments and errors as of `pixel_auroc`; the interval is exact too.
    """
    limit = float(finite(threshold, "thresholds"))
    sample = Sample.of_pixels(maps, masks, patients, rank=lambda values: ((values > limit).astype(np.int64), 2))
    return _estimate(sample, _flagged_dice, resampling, needs_healthy=False)


def oracle_dice(
    maps: ArrayLike, masks: BoolArray, patients: Sequence[str], **resampling: Unpack[Resampling]
) -> Estimate:
    """Dice at the best of all thresholds: an oracle, for it looks at the masks that it is measured on.

    The value is exact over all distinct map values; in the interval each resample picks its own threshold among at
    most 4096 quantiles. Arguments and errors as of `pixel_auroc`; undefined without an anomalous pixel.
    """
    return _estimate(Sample.of_pixels(maps, masks, patients), _best_dice, resampling, needs_healthy=False)


def pixel_level(
    maps: ArrayLike,
    masks: BoolArray,
    patients: Sequence[str],
    threshold: float | None = None,
    **resampling: Unpack[Resampling],
) -> dict[str, Estimate]:
    """`pixel_auroc`, `pixel_auprc`, `oracle_dice`, and `dice` where a threshold is given, by name.

    The same numbers as one by one, with the pixels sorted once. Arguments and errors as theirs.
    """
    sample = Sample.of_pixels(maps, masks, patients)
    found = {
        "pixel_auroc": _estimate(sample, auroc, resampling),
        "pixel_auprc": _estimate(sample, average_precision, resampling),
        "oracle_dice": _estimate(sample, _best_dice, resampling, needs_healthy=False),
    }
    if threshold is not None:
        found["dice"] = dice(maps, masks, patients, threshold, **resampling)
    return found


def _estimate(sample: Sample, statistic: Statistic, resampling: Resampling, *, needs_healthy: bool = True) -> Estimate:
    reason = sample.missing(needs_healthy=needs_healthy)
    if reason:
        return Estimate(None, None, None, sample.n_healthy, sample.n_anomalous, reason)
    neg, pos = sample.totals
    patient_neg, patient_pos = sample.by_patient

    def resampled(drawn: FloatArray) -> FloatArray:
        return statistic(drawn @ patient_neg, drawn @ patient_pos)

    low, high, note = interval(resampled, sample.n_patients, resampling)
    return Estimate(float(statistic(neg, pos)), low, high, sample.n_healthy, sample.n_anomalous, note)


def _flagged_dice(neg: FloatArray, pos: FloatArray) -> FloatArray:
    return dice_curve(neg, pos)[..., 1]


def _best_dice(neg: FloatArray, pos: FloatArray) -> FloatArray:
    best: FloatArray = dice_curve(neg, pos).max(axis=-1)
    return best
