"""Principal components of reduced healthy images: what several methods compute from the images' moments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg.blas import dsymv
from scipy.sparse.linalg import LinearOperator, eigsh
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from ra_core.models.blocks import shrink
from ra_core.models.method import FittedMethod
from ra_core.models.moments import Moments

__all__ = ["SIDE", "PrincipalMethod"]

SIDE = 64
"""Images are reduced to this side: the covariance has SIDE to the fourth entries."""

NOISE = 1e-6
"""Variance below this share of the mean square is rounding: moments are kept in float32."""


@dataclass(frozen=True)
class Spectrum:
    """Leading principal components.

    Attributes:
        components: (K, SIDE²) float32, orthonormal rows, the greatest variance last; none where nothing varies.
        variances: (K,) float32, along these.
        rest: mean variance in all directions beside these, at least 0.
        noise: variance that is rounding.
    """

    components: Tensor
    variances: Tensor
    rest: float
    noise: float


class PrincipalMethod(FittedMethod):
    """A method that knows the moments of healthy images at SIDE x SIDE.

    Args:
        components: leading components, at most.
    """

    def __init__(self, components: int) -> None:
        super().__init__()
        self.moments = Moments(1, SIDE**2)
        self._count = components
        self._spectrum: Spectrum | None = None

    def fit(self, batches: Iterable[Tensor]) -> None:
        """As its base has it."""
        self.moments.fit(shrink(batch, SIDE).flatten(1)[:, None] for batch in batches)
        self.renew()
        if not len(self.spectrum().components):
            raise ValueError("the training images are all the same: there is nothing to find")

    def shared_parts(self) -> dict[str, nn.Module]:
        """The moments."""
        return {"moments": self.moments}

    def renew(self) -> None:
        """The components have to be computed again."""
        self._spectrum = None

    def spectrum(self) -> Spectrum:
        """Of the moments; computed once."""
        if self._spectrum is None:
            noise = NOISE * float(self.moments.second.diagonal(dim1=1, dim2=2).double().sum())
            self._spectrum = _leading(self.moments.covariance()[0], self._count, noise)
        return self._spectrum

    def centred(self, x: Tensor) -> Tensor:
        """Reduced images without their mean: (N, 1, H, W) -> (N, SIDE²)."""
        return shrink(x, SIDE).flatten(1) - self.moments.mean[0]

    def picture(self, centred: Tensor) -> Tensor:
        """The other way: (N, SIDE²) -> (N, 1, SIDE, SIDE)."""
        return (centred + self.moments.mean[0]).view(-1, 1, SIDE, SIDE)

    def coordinates(self, centred: Tensor) -> Tensor:
        """(N, SIDE²) -> (N, K), along the components."""
        return centred @ self._components().T

    def combined(self, coordinates: Tensor) -> Tensor:
        """(N, K) -> (N, SIDE²), from the components."""
        return coordinates @ self._components()

    def _components(self) -> Tensor:
        return self.spectrum().components.to(self.moments.mean.device)


def _leading(covariance: Tensor, count: int, noise: float) -> Spectrum:
    """At most `count` components; those whose variance is not above `noise` are left out."""
    matrix = covariance.cpu().numpy()
    total, size = float(matrix.trace()), len(matrix)
    if total <= noise:
        return Spectrum(torch.zeros(0, size), torch.zeros(0), max(total, 0.0) / size, noise)
    # Reading one triangle is half the work: memory is the bottleneck.
    product = LinearOperator(matrix.shape, matvec=lambda v: dsymv(1.0, matrix.T, v), dtype=matrix.dtype)
    # A fixed start vector: the iteration begins at a random one otherwise, and no two runs would agree. SciPy's BLAS
    # has threads of its own, as many as cores, and their number changes the bits: here it takes torch's.
    with threadpool_limits(limits=torch.get_num_threads(), user_api="blas"):
        values, vectors = eigsh(product, k=count, v0=np.ones(size))
    kept = values > noise
    found = torch.from_numpy(np.ascontiguousarray(vectors[:, kept].T)).float()
    rest = max(total - float(values[kept].sum()), 0.0) / (size - int(kept.sum()))
    return Spectrum(found, torch.from_numpy(values[kept]).float(), rest, noise)
