"""PCA residual: what the leading principal components of healthy images can't express. A strong simple baseline."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from scipy.linalg.blas import dsymv
from scipy.sparse.linalg import LinearOperator, eigsh
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from ra_core.models.blocks import enlarge, shrink
from ra_core.models.configs import PCAConfig
from ra_core.models.method import FittedMethod, Reconstruction
from ra_core.models.moments import Moments

__all__ = ["PCA", "SIDE"]

SIDE = 64
"""Images are reduced to this side: the covariance has SIDE to the fourth entries."""

NOISE = 1e-6
"""Variance below this share of the mean square is rounding: moments are kept in float32."""


class PCA(Reconstruction, FittedMethod):
    """Reconstruction from the leading principal components of healthy images, at SIDE x SIDE."""

    def __init__(self, config: PCAConfig, size: int) -> None:  # noqa: ARG002
        super().__init__()
        self.config = config
        self.moments = Moments(1, SIDE**2)
        self._components: Tensor | None = None

    def fit(self, batches: Iterable[Tensor]) -> None:
        """As its base has it."""
        self.moments.fit(shrink(batch, SIDE).flatten(1)[:, None] for batch in batches)
        self.renew()
        self.components()

    def shared_parts(self) -> dict[str, nn.Module]:
        """The moments."""
        return {"moments": self.moments}

    def renew(self) -> None:
        """The components have to be computed again."""
        self._components = None

    def components(self) -> Tensor:
        """(K, SIDE²) orthonormal rows, the greatest variance last; computed once.

        Raises:
            ValueError: there is no variance.
        """
        if self._components is None:
            noise = NOISE * float(self.moments.second.double().diagonal(dim1=1, dim2=2).sum())
            self._components = _leading(self.moments.covariance()[0], self.config.components, noise)
        return self._components.to(self.moments.mean.device)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Projection onto the components, at the size of x: (N, 1, S, S) in [0, 1] -> the same."""
        return enlarge(self._project(shrink(x, SIDE)), x).clamp(0, 1)

    def compared(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both at the reduced size, enlarged: what the components lack in sharpness is no anomaly."""
        low = shrink(x, SIDE)
        return enlarge(low, x), enlarge(self._project(low), x)

    def _project(self, low: Tensor) -> Tensor:
        mean, components = self.moments.mean[0], self.components()
        centred = low.flatten(1) - mean
        return (mean + centred @ components.T @ components).view_as(low)


def _leading(covariance: Tensor, count: int, noise: float) -> Tensor:
    """At most `count` leading eigenvectors, float32 rows; those whose variance is below `noise` are left out."""
    matrix = covariance.cpu().numpy()
    if matrix.trace() <= noise:
        raise ValueError("the training images are all the same: there is nothing to find")
    # Reading one triangle is half the work: memory is the bottleneck.
    product = LinearOperator(matrix.shape, matvec=lambda v: dsymv(1.0, matrix.T, v), dtype=matrix.dtype)
    # A fixed start vector: the iteration begins at a random one otherwise, and no two runs would agree. SciPy's BLAS
    # has threads of its own, as many as cores, and their number changes the bits: here it takes torch's.
    with threadpool_limits(limits=torch.get_num_threads(), user_api="blas"):
        values, vectors = eigsh(product, k=count, v0=np.ones(len(matrix)))
    kept = vectors[:, values > noise]
    return torch.from_numpy(np.ascontiguousarray(kept.T)).float()
