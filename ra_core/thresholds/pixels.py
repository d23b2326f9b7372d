"""A threshold of pixels: what share of a healthy patient's map may lie above it.

Conformal risk control (Angelopoulos et al. 2022), whose risk is the share of pixels above the threshold, at most 1: the
lowest value at which the sum over n patients of their shares, plus 1 for the next one, is at most rate x (n + 1). Every
patient counts the same, however many pictures there are of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ra_core.thresholds.conformal import HAIR, Promise, patients_needed, too_few

__all__ = ["pixel_threshold"]


def pixel_threshold(maps: Sequence[NDArray[np.float32]], patients: Sequence[str], rate: float) -> Promise:
    """A map value that at most a share `rate` of a healthy patient's pixels exceed, on average over patients.

    Where there are too few patients for a promise, the value is the plain quantile, every patient counting the same,
    and the note says that nothing is promised: a map needs some scale. With few more the shares above it of all
    patients come to less than 1, so that one whose pixels are all high sets it alone; the note says that, too. Beside
    the maps it needs a byte a pixel of one.

    Args:
        maps: of healthy pictures, each of any shape, finite and at least 0.
        patients: one id a map.
        rate: of flagged pixels, in (0, 1).

    Raises:
        ValueError: no maps, lengths differ, or a value is negative or not finite.
    """
    if not len(maps) or len(maps) != len(patients):
        raise ValueError(f"{len(maps)} maps of {len(patients)} patients")
    if not all(np.isfinite(found).all() and found.min() >= 0 for found in maps):
        raise ValueError("need finite maps, at least 0")
    of_patients: dict[str, list[NDArray[np.float32]]] = {}
    for found, patient in zip(maps, patients, strict=True):
        of_patients.setdefault(patient, []).append(found)
    n = len(of_patients)
    promised = n >= patients_needed(rate)
    wanted = (1 - rate) * (n + promised) - HAIR  # patients' shares that are not above

    def enough(value: np.float32) -> bool:
        return math.fsum(_share_up_to(value, own) for own in of_patients.values()) >= wanted

    value = _lowest(enough, max(found.max() for found in maps))
    return Promise(value=value, rate=rate, unit="pixel", n=n, note=_note(n, rate))


def _note(n: int, rate: float) -> str:
    needed, enough = patients_needed(rate), patients_needed(rate, outliers=1)
    if n < needed:
        return f"a plain quantile, nothing is promised; {too_few(n, needed)}"
    return "" if n >= enough else f"may rest on one patient's pixels alone: {enough} patients would bear an outlier"


def _share_up_to(value: np.float32, maps: Sequence[NDArray[np.float32]]) -> float:
    return sum(np.count_nonzero(found <= value) for found in maps) / sum(found.size for found in maps)


def _lowest(enough: Callable[[np.float32], bool], highest: np.float32) -> float:
    """The lowest float32 that is enough, if the highest is: read as whole numbers, their bits are in their order."""
    low, high = 0, int(np.float32(highest + 0).view(np.uint32))
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(np.uint32(middle).view(np.float32)) else (middle + 1, high)
    return float(np.uint32(low).view(np.float32))
