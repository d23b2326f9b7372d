"""What a site's healthy images and their anomaly maps show at each pixel, and maps standardised by it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ra_core.smoothing import gaussian

__all__ = ["TISSUE", "HealthyMoments", "HealthyStatistics"]

TISSUE = 0.05
"""Grey above which a pixel is taken for tissue: of the mean of a site's healthy images, and of a reconstruction."""


@dataclass(frozen=True)
class HealthyStatistics:
    """What a site's healthy images and maps show at each pixel.

    Attributes:
        mean: of the maps, (H, W) float64, smoothed over neighbours.
        spread: the same of their standard deviation.
        inside: bool (H, W), where there is tissue as a rule; at one pixel at least.
    """

    mean: np.ndarray
    spread: np.ndarray
    inside: np.ndarray

    def standardise(self, maps: Tensor, signed: bool = False) -> Tensor:
        """Spreads above the healthy mean, 0 below it and where no tissue is: (N, 1, H, W) -> the same, at least 0.

        Half the average spread of tissue is added to each pixel's own, so that a pixel that never varied can't turn
        noise into an alarm. Outside, a model whose picture a lesion has changed as a whole would be loud for nothing.

        Args:
            maps: as `Scorer` makes them.
            signed: whether what lies below the mean counts as what lies above it.
        """
        half = 0.5 * self.spread[self.inside].mean()
        mean, spread, inside = (
            torch.from_numpy(part).to(maps.device) for part in (self.mean, self.spread + half + 1e-12, self.inside)
        )
        z = (maps.double() - mean) / spread
        return ((z.abs() if signed else z.clamp_min(0)) * inside).float()


class HealthyMoments:
    """Count and sums of healthy maps (H, W), taken one by one: memory doesn't grow with their number."""

    def __init__(self) -> None:
        self._count, self._total, self._squares = 0, np.zeros(()), np.zeros(())

    def add(self, maps: Iterable[np.ndarray]) -> HealthyMoments:
        """Take in more maps; returns itself."""
        for m in maps:
            self._count += 1
            self._total = self._total + m.astype(np.float64)
            self._squares = self._squares + m.astype(np.float64) ** 2
        return self

    def statistics(self, healthy: np.ndarray, sigma: float = 2.0) -> HealthyStatistics:
        """Of all maps so far.

        Args:
            healthy: mean of the healthy images, (H, W) in [0, 1].
            sigma: in pixels, of the smoothing of both moments, since a site may have few images.

        Raises:
            ValueError: fewer than two maps.
        """
        if self._count < 2:
            raise ValueError(f"{self._count} healthy maps: a spread needs at least two")
        mean = gaussian(self._total / self._count, sigma)
        spread = np.sqrt(np.maximum(gaussian(self._squares / self._count, sigma) - mean**2, 0))
        inside = healthy > TISSUE
        return HealthyStatistics(mean, spread, inside if inside.any() else np.ones_like(inside))
