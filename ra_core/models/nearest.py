"""Nearest neighbour: the healthy training image most like the input stands for its healthy twin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ra_core.models.blocks import enlarge, shrink
from ra_core.models.method import FittedMethod

__all__ = ["NearestNeighbour"]

SIDE = 64


class NearestNeighbour(FittedMethod):
    """The nearest healthy image by squared distance at 64 x 64. It can't be federated: its bank holds images.

    Args:
        bank: (M, 1, SIDE, SIDE) in [0, 1].
    """

    federates = False
    memorises = True

    def __init__(self, bank: Tensor) -> None:
        super().__init__()
        self.register_buffer("bank", bank)
        self.bank: Tensor

    @classmethod
    def statistics(cls, batches: Iterable[Tensor]) -> dict[str, Tensor]:
        """The reduced images themselves."""
        return {"bank": torch.cat([shrink(batch, SIDE) for batch in batches])}

    @classmethod
    def from_statistics(cls, statistics: Mapping[str, Tensor]) -> NearestNeighbour:
        """A bank ready to search."""
        return cls(statistics["bank"])

    def reconstruct(self, x: Tensor) -> Tensor:
        """The nearest image of the bank, at the size of x: (N, 1, S, S) in [0, 1] -> the same."""
        return enlarge(self._nearest(shrink(x, SIDE)), x)

    def compared(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both at the reduced size, enlarged: what the bank lacks in sharpness is no anomaly."""
        low = shrink(x, SIDE)
        return enlarge(low, x), enlarge(self._nearest(low), x)

    def _nearest(self, low: Tensor) -> Tensor:
        squared = torch.stack([(self.bank - image).square().flatten(1).sum(1) for image in low])
        return self.bank[squared.argmin(1)]
