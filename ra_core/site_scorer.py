"""A method made ready for one site: its maps under several scorings, standardised by the site's own healthy images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ra_core.models.method import Images, Method
from ra_core.scoring import HealthyMoments, HealthyStatistics, Scorer, ScoringConfig, image_scores

__all__ = ["SiteScorer", "batches"]


class SiteScorer:
    """Anomaly maps and image scores of one site's images.

    Args:
        method: a trained method; put into evaluation mode.
        scorer: makes maps from images and reconstructions.
        scorings: which maps.
        healthy: statistics by the names of those scorings that are standardised.
        device: where the method is.
    """

    def __init__(
        self,
        method: Method,
        scorer: Scorer,
        scorings: Sequence[ScoringConfig],
        healthy: Mapping[str, HealthyStatistics],
        device: torch.device,
    ) -> None:
        self.method, self.scorer, self.scorings = method.eval(), scorer, tuple(scorings)
        self.healthy, self.device = healthy, device

    @classmethod
    def fit(
        cls,
        method: Method,
        scorer: Scorer,
        scorings: Sequence[ScoringConfig],
        reference: Iterable[Tensor],
        device: torch.device,
    ) -> SiteScorer:
        """With healthy statistics from batches (N, 1, S, S) of healthy images.

        Raises:
            ValueError: fewer than two images, though a scoring is standardised.
        """
        wanted = [s for s in scorings if s.standardise]
        moments = {s.name: HealthyMoments() for s in wanted}
        unready = cls(method, scorer, scorings, {}, device)
        for x in reference:
            for name, maps in unready._raw_maps(x, wanted).items():
                moments[name].add(maps[:, 0].numpy())
        healthy = {name: found.statistics() for name, found in moments.items()}
        return cls(method, scorer, scorings, healthy, device)

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """Anomaly maps by scoring name, each (N, 1, S, S) float32 on the CPU, at least 0, of images (N, 1, S, S)."""
        maps = self._raw_maps(x, self.scorings)
        return maps | {name: statistics.standardise(maps[name]) for name, statistics in self.healthy.items()}

    def scores(self, images: Iterable[Tensor]) -> dict[str, np.ndarray]:
        """Image scores by scoring name, each (N,) float64, of all batches."""
        found: dict[str, list[np.ndarray]] = {s.name: [] for s in self.scorings}
        for x in images:
            maps = self.maps(x)
            for s in self.scorings:
                found[s.name].append(image_scores(maps[s.name], s))
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def reconstruct(self, x: Tensor) -> Tensor:
        """Pseudo-healthy twins (N, 1, S, S) on the CPU."""
        with torch.inference_mode():
            return self.method.reconstruct(x.to(self.device)).float().cpu()

    def _raw_maps(self, x: Tensor, scorings: Sequence[ScoringConfig]) -> dict[str, Tensor]:
        with torch.inference_mode():
            x = x.to(self.device)
            maps = self.scorer.maps(x, self.method.reconstruct(x), scorings)
        return {name: m.cpu() for name, m in maps.items()}


def batches(images: Images, size: int, indices: Sequence[int] | None = None) -> Iterator[Tensor]:
    """Images (N, 1, S, S) of the given indices, or all, `size` at a time and in order."""
    indices = range(len(images)) if indices is None else indices
    for start in range(0, len(indices), size):
        yield images.images(indices[start : start + size])
