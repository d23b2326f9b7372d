"""PaDiM: a Gaussian of healthy features at every place, and how far an image's features are from it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ra_core.models.configs.features import PaDiMConfig
from ra_core.models.features import FeatureDetector, drawn_channels
from ra_core.models.method import FittedMethod
from ra_core.models.moments import Moments

__all__ = ["PaDiM"]

SMALLEST = 1e-6
"""Variance added at least: what moments in float32, rounded again on their way to a server, can't tell from nothing."""


class PaDiM(FeatureDetector, FittedMethod):
    """Defard et al. 2021, arXiv 2011.08785: sqrt((x - μ)ᵀ (Σ + ε I)⁻¹ (x - μ)) at each place of a grid.

    Features of length 1 vary little, so that the authors' ε of 0.01 would drown them: here it is a share of the mean
    variance of all features at all places. One ε for all places, or where nothing ever varied all would be unusual.
    """

    config: PaDiMConfig

    def __init__(self, config: PaDiMConfig, size: int) -> None:  # noqa: ARG002
        super().__init__(config)
        self.register_buffer("channels", drawn_channels(config.available, config.channels), persistent=False)
        self.channels: Tensor
        self.moments = Moments(config.grid**2, config.channels)
        self._whitening: Tensor | None = None

    def fit(self, batches: Iterable[Tensor]) -> None:
        """As its base has it."""
        self.moments.fit(self._features(batch.to(self.channels.device)) for batch in batches)
        self.renew()

    def shared_parts(self) -> dict[str, nn.Module]:
        """The moments."""
        return {"moments": self.moments}

    def renew(self) -> None:
        """The Gaussians have to be computed again."""
        self._whitening = None

    def distance(self, x: Tensor) -> Tensor:
        """Mahalanobis distance at each place, enlarged and smoothed: (N, 1, H, W) -> the same."""
        centred = (self._features(x) - self.moments.mean).transpose(0, 1)  # (P, N, C)
        whitened = centred @ self.whitening().transpose(1, 2)
        return self.enlarged(torch.linalg.vector_norm(whitened, dim=2).T.contiguous(), x)

    def whitening(self) -> Tensor:
        """(P, C, C) float32, lower triangular L⁻¹ with Σ + ε I = L Lᵀ at each place; computed once."""
        if self._whitening is None:
            covariance = self.moments.covariance()
            variances = covariance.diagonal(dim1=1, dim2=2)  # a view
            variances += max(self.config.regularise * float(variances.mean()), SMALLEST)
            inverse = torch.empty(covariance.shape)
            for place, matrix in enumerate(covariance.cpu()):  # one at a time, or all inverses were in float64 too
                lower = torch.linalg.cholesky(matrix)
                unit = torch.eye(len(matrix), dtype=matrix.dtype)
                inverse[place] = torch.linalg.solve_triangular(lower, unit, upper=False)
            self._whitening = inverse
        self._whitening = self._whitening.to(self.moments.mean.device)
        return self._whitening

    def _features(self, x: Tensor) -> Tensor:
        """(N, P, C)."""
        return self.look(x)[:, :, self.channels]
