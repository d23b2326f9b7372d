"""Healthy images that are most unlike the others: whoever trains on healthy images only has to look at these."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from ra_core.data.checks.finding import Code, Finding, Level
from ra_core.data.checks.pictures import Pictures
from ra_core.data.scan.records import THUMBNAIL

__all__ = ["check_healthy", "unlikeness"]

FEWEST = 20
"""Healthy images that a model can be fitted to."""

MOST_SHOWN = 24

FOLDS = 5
COMPONENTS = 24
DROPPED = 0.1
"""Share of the images, the worst explained, that the second fit leaves out, so that no outlier explains itself."""


def check_healthy(pictures: Pictures) -> Iterator[Finding]:
    """The few most unlike the rest, worst first."""
    healthy = pictures.healthy
    if len(healthy) < FEWEST:
        return
    scores = unlikeness(pictures.thumbnails[healthy], pictures.patients[healthy].tolist())
    worst = np.argsort(-scores, kind="stable")[: min(MOST_SHOWN, -(-len(healthy) // 20))]
    yield Finding(
        Level.INFO,
        Code.LEAST_TYPICAL_HEALTHY,
        f"the {len(worst)} of {len(healthy)} healthy images that are most unlike the others",
        "let a radiologist look at them: what is not healthy must not be learned as healthy",
        tuple(
            pictures.mention(
                int(healthy[i]), f"{pictures.splits[healthy[i]]}, {scores[i]:.1f} deviations from the usual"
            )
            for i in worst
        ),
    )


def unlikeness(thumbnails: NDArray[np.uint8], patients: list[str]) -> NDArray[np.float64]:
    """How badly principal components of the other patients' thumbnails explain each one.

    Patients are dealt to five folds; each fold is judged by components of the other four. Fitted twice: the second time
    without the images that the first fit explains worst. Thumbnails are halved: small shifts are no anomaly.

    Args:
        thumbnails: (N, THUMBNAIL * THUMBNAIL), N >= 1.
        patients: N keys.

    Returns:
        (N,), root mean squared residuals, less their median, in units of 1.4826 × their median absolute deviation.
    """
    half = THUMBNAIL // 2
    x = thumbnails.reshape(-1, half, 2, half, 2).mean(axis=(2, 4), dtype=np.float32).reshape(-1, half**2) / 255
    deal = {patient: place % FOLDS for place, patient in enumerate(sorted(set(patients)))}
    fold = np.array([deal[patient] for patient in patients])
    error = np.zeros(len(x))
    for k in range(FOLDS):
        judged, fitted = fold == k, x[fold != k]
        if not judged.any() or len(fitted) < FEWEST // 2:
            continue
        first = _residual(fitted, fitted)
        kept = fitted[first <= np.quantile(first, 1 - DROPPED)]
        error[judged] = _residual(kept, x[judged])
    deviation = error - np.median(error)
    spread = 1.4826 * float(np.median(np.abs(deviation)))
    return np.asarray(deviation / max(spread, 1e-6))


def _residual(fitted: NDArray[np.float32], x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Root mean squared residual (N,) of x (N, P) after the first components of `fitted` (M, P)."""
    mean = fitted.mean(axis=0)
    centred = fitted - mean
    size, count = centred.shape[1], min(COMPONENTS, len(fitted) - 1)
    _, axes = eigh(centred.T @ centred, subset_by_index=(size - count, size - 1))
    off = x - mean
    off = off - off @ axes @ axes.T
    return np.asarray(np.sqrt(np.square(off).mean(axis=1)), np.float64)
