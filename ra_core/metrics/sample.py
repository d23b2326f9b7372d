"""Scored items counted by bin, class and patient.

Each distinct score is a bin. Histograms by patient have at most `MAX_BINS`: where there are more distinct scores, bins
are quantiles that give both classes the same weight, so that a rare class is not squeezed into a few of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from ra_core.metrics.inputs import BoolArray, FloatArray, IntArray, binary, encode, finite

__all__ = ["MAX_BINS", "Sample"]

MAX_BINS = 4096

Ranked = tuple[IntArray, int]
"""The bin of each value, by ascending value, and how many bins there are."""


def rank(values: FloatArray) -> Ranked:
    """One bin for each distinct value of (M,) values."""
    distinct, bins = np.unique(values, return_inverse=True)
    return bins.astype(np.int64), len(distinct)


@dataclass(frozen=True)
class Sample:
    """Scored items of N images, M an image: the image itself, or its pixels.

    Attributes:
        kind: what an item is, in plural.
        bins: (N, M), each item's bin, by ascending score.
        n_bins: how many there are.
        anomalous: (N, M).
        patients: (N,), each image's patient.
        n_patients: how many there are.
    """

    kind: str
    bins: IntArray
    n_bins: int
    anomalous: BoolArray
    patients: IntArray
    n_patients: int

    @classmethod
    def of_images(cls, scores: ArrayLike, labels: ArrayLike, patients: Sequence[str]) -> Sample:
        """Each image is an item."""
        values = finite(scores, "scores")
        if values.ndim != 1:
            raise ValueError(f"need scores (N,), got {values.shape}")
        anomalous = binary(labels, len(values))
        bins, n_bins = rank(values)
        return cls("images", bins[:, None], n_bins, anomalous[:, None], *encode(patients, len(values)))

    @classmethod
    def of_pixels(
        cls, maps: ArrayLike, masks: BoolArray, patients: Sequence[str], rank: Callable[[FloatArray], Ranked] = rank
    ) -> Sample:
        """Each pixel is an item, in the bin that `rank` gives it."""
        values = finite(maps, "map values")
        if values.ndim != 3 or values.shape != masks.shape:
            raise ValueError(f"need maps (N, H, W) and masks (N, H, W), got {values.shape} and {masks.shape}")
        if masks.dtype != np.bool_:
            raise ValueError(f"masks must be bool, got {masks.dtype}")
        bins, n_bins = rank(values.ravel())
        shape = (len(values), values.shape[1] * values.shape[2])
        return cls("pixels", bins.reshape(shape), n_bins, masks.reshape(shape), *encode(patients, len(values)))

    def of(self, images: BoolArray) -> Sample:
        """Some of the images, (N,), without ranking anew: bins that none of them is in stay empty."""
        distinct, codes = np.unique(self.patients[images], return_inverse=True)
        return replace(
            self, bins=self.bins[images], anomalous=self.anomalous[images], patients=codes, n_patients=len(distinct)
        )

    @property
    def n_anomalous(self) -> int:
        """Images with an anomalous item."""
        return int(self.anomalous.any(axis=1).sum())

    @property
    def n_healthy(self) -> int:
        """Images without one."""
        return len(self.bins) - self.n_anomalous

    def missing(self, *, needs_healthy: bool) -> str:
        """Why nothing can be measured, or "" if something can."""
        if not self.bins.size:
            return "no test images" if self.kind == "images" else "no test images with known lesions"
        if not self.anomalous.any():
            return f"no anomalous test {self.kind}"
        return f"no healthy test {self.kind}" if needs_healthy and self.anomalous.all() else ""

    @cached_property
    def totals(self) -> tuple[FloatArray, FloatArray]:
        """Healthy and anomalous items by bin, (n_bins,) each."""
        return self._by_class(self.bins, self.n_bins)

    @cached_property
    def by_patient(self) -> tuple[FloatArray, FloatArray]:
        """Healthy and anomalous items by patient and bin, of at most `MAX_BINS` bins, (n_patients, K) each."""
        coarse = _coarsen(*self.totals)
        width = int(coarse[-1]) + 1
        shape = (self.n_patients, width)
        neg, pos = self._by_class(self.patients[:, None] * width + coarse[self.bins], self.n_patients * width)
        return neg.reshape(shape), pos.reshape(shape)

    @cached_property
    def joined(self) -> tuple[FloatArray, FloatArray]:
        """`by_patient` with each bin that no anomalous item is in joined to the next lower one that has some.

        Average precision and the best Dice are the same, as they look at no other threshold; of small lesions few bins
        are left, which makes their intervals several times as fast.
        """
        neg, pos = self.by_patient
        starts = np.union1d(0, np.flatnonzero(pos.any(axis=0)))
        return np.add.reduceat(neg, starts, axis=1), np.add.reduceat(pos, starts, axis=1)

    def _by_class(self, cells: IntArray, n: int) -> tuple[FloatArray, FloatArray]:
        neg, pos = (np.bincount(cells[of], minlength=n).astype(np.float64) for of in (~self.anomalous, self.anomalous))
        return neg, pos


def _coarsen(neg: FloatArray, pos: FloatArray) -> IntArray:
    """From bins to at most `MAX_BINS` of them, (K,): the identity if so few, else quantiles of both classes' mean."""
    if len(neg) <= MAX_BINS:
        return np.arange(len(neg))
    neg_below, pos_below = ((np.cumsum(n) - n) / max(n.sum(), 1) for n in (neg, pos))
    coarse: IntArray = np.floor(MAX_BINS * (neg_below + pos_below) / 2).astype(np.int64)
    return coarse
