"""Means over images of one kind, with their interval: of errors, and of how often a score is above a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike

from ra_core.metrics.bootstrap import Estimate, Resampling, resample
from ra_core.metrics.inputs import FloatArray, binary, encode, finite

__all__ = ["detection_rate", "false_alarm_rate", "mean_estimate"]


def mean_estimate(
    values: ArrayLike,
    patients: Sequence[str],
    *,
    anomalous: bool = False,
    **resampling: Unpack[Resampling],
) -> Estimate:
    """Mean over images of one number each (squared error, LPIPS, ...).

    Args:
        values: (N,), any unit.
        patients: N ids; the interval draws patients, with all their images.
        anomalous: whether the images are; decides only as what they are counted.
        resampling: see `Resampling`.

    Raises:
        ValueError: a value is not finite, or lengths differ.

    >>> mean_estimate([1.0, 2.0, 6.0], ["a", "b", "b"], bootstrap=100, confidence=0.95, seed=0).value
    3.0
    """
    numbers = finite(values, "values")
    if numbers.ndim != 1:
        raise ValueError(f"need values (N,), got {numbers.shape}")
    codes, n_patients = encode(patients, len(numbers))
    if not len(numbers):
        kind = "anomalous" if anomalous else "healthy"
        return Estimate(None, None, None, 0, 0, f"not estimable: no {kind} test images")
    order = np.lexsort((numbers, codes))  # sums of floats depend on their order; rows may come in any
    sums = np.bincount(codes[order], weights=numbers[order])
    counts = np.bincount(codes).astype(np.float64)

    def mean(drawn: FloatArray) -> FloatArray:
        found: FloatArray = (drawn @ sums) / (drawn @ counts)
        return found

    resampled = resample(mean, n_patients, resampling)
    images = (0, len(numbers)) if anomalous else (len(numbers), 0)
    return Estimate.of(float(sums.sum() / counts.sum()), resampled, resampling["confidence"], images)


def detection_rate(
    scores: ArrayLike, labels: ArrayLike, patients: Sequence[str], threshold: float, **resampling: Unpack[Resampling]
) -> Estimate:
    """Share of the anomalous images whose score is above `threshold` (not at it), in [0, 1]: sensitivity.

    Needs no healthy image. Arguments and errors as of `image_auroc`; the threshold must be finite.

    >>> detection_rate([1, 2, 3], [0, 1, 1], "abc", 2.0, bootstrap=100, confidence=0.95, seed=0).value
    0.5
    """
    return _share_above(scores, labels, patients, threshold, resampling, anomalous=True)


def false_alarm_rate(
    scores: ArrayLike, labels: ArrayLike, patients: Sequence[str], threshold: float, **resampling: Unpack[Resampling]
) -> Estimate:
    """Share of the healthy images whose score is above `threshold` (not at it), in [0, 1]: 1 - specificity.

    Needs no anomalous image. Arguments and errors as of `detection_rate`.
    """
    return _share_above(scores, labels, patients, threshold, resampling, anomalous=False)


def _share_above(
    scores: ArrayLike,
    labels: ArrayLike,
    patients: Sequence[str],
    threshold: float,
    resampling: Resampling,
    *,
    anomalous: bool,
) -> Estimate:
    values, limit = finite(scores, "scores"), float(finite(threshold, "thresholds"))
    if values.ndim != 1:
        raise ValueError(f"need scores (N,), got {values.shape}")
    of_kind = binary(labels, len(values)) == anomalous
    some = [patient for patient, kept in zip(patients, of_kind, strict=True) if kept]
    return mean_estimate(values[of_kind] > limit, some, anomalous=anomalous, **resampling)
