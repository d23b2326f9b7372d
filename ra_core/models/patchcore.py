"""PatchCore: a bank of healthy features, and how far an image's features are from the nearest of them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ra_core.models.configs.features import PatchCoreConfig
from ra_core.models.features import FeatureDetector
from ra_core.models.method import FittedMethod
from ra_core.rng import generator

__all__ = ["PatchCore", "spread_out"]


class PatchCore(FeatureDetector, FittedMethod):
    """Roth et al. 2022, arXiv 2106.08265, with one nearest neighbour and without the reweighting of image scores.

    Candidates for the bank are a random draw from the places of all images, so that memory doesn't grow with their
    number. The bank holds features of training images, so it leaves no site.

    Attributes:
        bank: (M, C), lengths below 2.
    """

    config: PatchCoreConfig
    memorises = True

    def __init__(self, config: PatchCoreConfig, size: int) -> None:  # noqa: ARG002
        super().__init__(config)
        self.register_buffer("bank", torch.zeros(0, config.available))
        self.bank: Tensor

    def fit(self, batches: Iterable[Tensor]) -> None:
        """As its base has it."""
        found = self._candidates(batches)
        count = min(self.config.largest_bank, max(1, round(self.config.share * len(found))))
        draws = generator(0, "projection")
        projection = torch.randn(found.shape[1], self.config.projection, generator=draws).to(found.device)
        self.bank = found[spread_out(found @ projection, count)]

    def shared_parts(self) -> dict[str, nn.Module]:
        """None: it holds features of single images."""
        return {}

    def distance(self, x: Tensor) -> Tensor:
        """Distance to the nearest of the bank at each place, enlarged and smoothed: (N, 1, H, W) -> the same.

        Raises:
            ValueError: the bank is empty.
        """
        if not len(self.bank):
            raise ValueError("the bank is empty: nothing was fitted")
        squares = self.bank.square().sum(1)
        return self.enlarged(torch.stack([self._nearest(image, squares) for image in self._features(x)]), x)

    def _nearest(self, features: Tensor, squares: Tensor) -> Tensor:
        """(P, C), and the bank's squared lengths (M,) -> (P,)."""
        # The square of a + b loses the small distances: it only tells which is nearest.
        squared = squares - 2 * features @ self.bank.T
        distances: Tensor = torch.linalg.vector_norm(features - self.bank[squared.argmin(1)], dim=1)
        return distances

    def _features(self, x: Tensor) -> Tensor:
        """Means over neighbours, (N, P, C)."""
        side, grid = self.config.neighbourhood, self.config.grid
        found = self.look(x).transpose(1, 2).reshape(len(x), -1, grid, grid)
        means = F.avg_pool2d(found, side, stride=1, padding=side // 2, count_include_pad=False)
        return means.flatten(2).transpose(1, 2)

    def _candidates(self, batches: Iterable[Tensor]) -> Tensor:
        """(M, C): of all places of all images those with the lowest draws, in their order.

        A draw depends on the number of the image and the place alone.
        """
        features, draws = self.bank[:0], torch.zeros(0)
        number = 0
        for batch in batches:
            new = self._features(batch.to(self.bank.device))
            streams = [generator(0, "candidates", number + index) for index in range(len(new))]
            number += len(new)
            features = torch.cat([features, new.flatten(0, 1)])
            draws = torch.cat([draws, *(torch.rand(new.shape[1], generator=stream) for stream in streams)])
            if len(draws) > self.config.candidates:
                kept = draws.topk(self.config.candidates, largest=False).indices.sort().values
                features, draws = features[kept.to(features.device)], draws[kept]
        if not number:
            raise ValueError("0 training images: at least one is needed")
        return features


def spread_out(points: Tensor, count: int) -> Tensor:
    """Indices of at most `count` points, so that none is far from the nearest of them: (M, D) -> (K,).

    Greedy k-center (Gonzalez 1985): begin with the first, then always take the one that is farthest from all taken;
    at most twice as far as need be. It ends early where all are taken, or are the same as one that is.
    """
    squares = points.square().sum(1)
    nearest = torch.full_like(squares, torch.inf)
    taken = [0]
    while True:
        last = taken[-1]
        nearest = torch.minimum(nearest, squares - 2 * (points @ points[last]) + squares[last])
        nearest[last] = 0
        farthest = int(nearest.argmax())
        if len(taken) == count or float(nearest[farthest]) <= 1e-6 * float(squares[farthest]):
            return torch.tensor(taken, device=points.device)
        taken.append(farthest)
