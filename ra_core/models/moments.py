"""Means of healthy features and of their products: all that several methods know of the training images.

As means over images they can be averaged over sites, weighted by images, and are then those of all images together.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["Moments"]


class Moments(nn.Module):
    """First and second moments of features at some places.

    Features should be small numbers, about -1 to 1: a federation's updates may not exceed 8.

    Args:
        places: P, at each of which features have moments of their own.
        features: F, features a place.

    Attributes:
        mean: (P, F) float32.
        second: (P, F, F) float32, means of products.
    """

    def __init__(self, places: int, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(places, features))
        self.register_buffer("second", torch.zeros(places, features, features))
        self.mean: Tensor
        self.second: Tensor

    def fit(self, batches: Iterable[Tensor]) -> int:
        """Take in batches (N, P, F); sums are in float64. Returns the number of images.

        Raises:
            ValueError: fewer than two.
        """
        count = 0
        total = torch.zeros(self.mean.shape, dtype=torch.float64)
        products = torch.zeros(self.second.shape, dtype=torch.float64)
        for batch in batches:
            by_place = batch.cpu().double().transpose(0, 1)  # (P, N, F)
            count += by_place.shape[1]
            total += by_place.sum(1)
            products.baddbmm_(by_place.transpose(1, 2), by_place)
        if count < 2:
            raise ValueError(f"{count} training images: at least two are needed")
        self.mean.copy_(total / count)
        self.second.copy_(products / count)
        return count

    def covariance(self) -> Tensor:
        """(P, F, F) float64, of the population."""
        mean = self.mean.double()
        # In place of a copy: with many features this is the largest thing in memory.
        wide = self.second.to(torch.float64, copy=True)
        return wide.baddbmm_(mean.unsqueeze(2), mean.unsqueeze(1), alpha=-1)
