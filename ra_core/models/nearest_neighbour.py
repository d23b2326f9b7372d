"""Nearest neighbour: the healthy training image most like the input stands for its healthy twin."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ra_core.models.blocks import enlarge, shrink
from ra_core.models.configs import NearestNeighbourConfig
from ra_core.models.method import FittedMethod, Reconstruction

__all__ = ["NearestNeighbour"]

SIDE = 64


class NearestNeighbour(Reconstruction, FittedMethod):
    """The nearest healthy image by squared distance at SIDE x SIDE. Its bank holds images, so it leaves no site.

    Attributes:
        bank: (M, 1, SIDE, SIDE) in [0, 1].
    """

    memorises = True

    def __init__(self, config: NearestNeighbourConfig, size: int) -> None:  # noqa: ARG002
        super().__init__()
        self.register_buffer("bank", torch.zeros(0, 1, SIDE, SIDE))
        self.bank: Tensor

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Keep the reduced images themselves."""
        kept = [shrink(batch, SIDE) for batch in batches]
        if not kept:
            raise ValueError("0 training images: at least one is needed")
        self.bank = torch.cat(kept)

    def shared_parts(self) -> dict[str, nn.Module]:
        """None: it holds images."""
        return {}

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
