"""One score a patient: images of one patient are alike, so they don't count as many."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ra_core.calibration_settings import Unit

__all__ = ["Unit", "patient_scores"]


def patient_scores(scores: ArrayLike, patients: Sequence[str], names: Sequence[str], unit: Unit) -> NDArray[np.float64]:
    """One score for each patient, in the order of the patients' sorted ids: (K,) float64.

    Args:
        scores: of N pictures.
        patients: N ids.
        names: N names that stay the same, as paths: with the unit `slice` the picture is taken whose name has the
            lowest SHA-256, which is a draw that nobody can choose and that repeats.
        unit: `study` takes a patient's highest score.

    Raises:
        ValueError: lengths differ, or a score is not finite.

    >>> patient_scores([1.0, 3.0, 2.0], ["a", "a", "b"], ["x", "y", "z"], "study")
    array([3., 2.])
    """
    values = np.asarray(scores, np.float64)
    if values.shape != (len(patients),) or len(names) != len(patients):
        raise ValueError(f"{values.shape} scores of {len(patients)} patients and {len(names)} names")
    if not np.isfinite(values).all():
        raise ValueError("a score is not finite")
    best: dict[str, tuple[object, float]] = {}
    for score, patient, name in zip(values.tolist(), patients, names, strict=True):
        rank = score if unit == "study" else hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
        found = best.get(patient)
        if found is None or (rank > found[0] if unit == "study" else rank < found[0]):  # type: ignore[operator]
            best[patient] = (rank, score)
    return np.array([best[patient][1] for patient in sorted(best)], np.float64)
