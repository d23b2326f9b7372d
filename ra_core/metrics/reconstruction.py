"""How like the original a reconstruction is: means over images with their interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike
from skimage.metrics import structural_similarity

from ra_core.metrics.bootstrap import Estimate, Resampling, interval
from ra_core.metrics.inputs import FloatArray, binary, encode, finite

__all__ = ["mean_estimate", "ssim"]


def mean_estimate(
    values: ArrayLike,
    patients: Sequence[str],
    *,
    labels: ArrayLike | None = None,
    **resampling: Unpack[Resampling],
) -> Estimate:
    """Mean over images of one number each (squared error, LPIPS, ...).

    Args:
        values: (N,), any unit.
        patients: N ids; the interval draws patients, with all their images.
        labels: (N,), 0 healthy, 1 anomalous: only counted; all healthy when left out.
        resampling: see `Resampling`.

    Raises:
        ValueError: a value is not finite, a label is neither 0 nor 1, or lengths differ.

    >>> mean_estimate([1.0, 2.0, 6.0], ["a", "b", "b"], bootstrap=100, confidence=0.95, seed=0).value
    3.0
    """
    numbers = finite(values, "values")
    if numbers.ndim != 1:
        raise ValueError(f"need values (N,), got {numbers.shape}")
    sick = 0 if labels is None else int(binary(labels, len(numbers)).sum())
    codes, n_patients = encode(patients, len(numbers))
    if not len(numbers):
        return Estimate(None, None, None, 0, 0, "no images")
    order = np.lexsort((numbers, codes))  # sums of floats depend on their order; rows may come in any
    sums = np.bincount(codes[order], weights=numbers[order])
    counts = np.bincount(codes).astype(np.float64)

    def resampled(drawn: FloatArray) -> FloatArray:
        mean: FloatArray = (drawn @ sums) / (drawn @ counts)
        return mean

    low, high, note = interval(resampled, n_patients, resampling)
    return Estimate(float(sums.sum() / counts.sum()), low, high, len(numbers) - sick, sick, note)


def ssim(
    images: ArrayLike,
    reconstructions: ArrayLike,
    patients: Sequence[str],
    *,
    labels: ArrayLike | None = None,
    **resampling: Unpack[Resampling],
) -> Estimate:
    """Mean structural similarity, with the settings of Wang et al. 2004.

    A Gaussian window of σ = 1.5 (11 × 11), population covariance, a data range of 1, and no pixel within 5 of the
    border, where the window would stick out.

    Args:
        images: (N, H, W) in [0, 1], H and W at least 11.
        reconstructions: (N, H, W) in [0, 1].
        patients: N ids.
        labels: as of `mean_estimate`.
        resampling: see `Resampling`.

    Raises:
        ValueError: a pixel is not finite or shapes differ.
    """
    original, made = finite(images, "image pixels"), finite(reconstructions, "reconstruction pixels")
    if original.ndim != 3 or original.shape != made.shape:
        raise ValueError(f"need images and reconstructions (N, H, W), got {original.shape} and {made.shape}")
    values = [_ssim(x, y) for x, y in zip(original, made, strict=True)]
    return mean_estimate(values, patients, labels=labels, **resampling)


def _ssim(x: FloatArray, y: FloatArray) -> float:
    settings = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(x, y, **settings))  # type: ignore[no-untyped-call]
