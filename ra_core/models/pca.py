"""PCA residual: what the leading principal components of healthy images can't express. A strong simple baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from scipy.linalg.blas import dsymv
from scipy.sparse.linalg import LinearOperator, eigsh
from threadpoolctl import threadpool_limits
from torch import Tensor

from ra_core.models.blocks import enlarge, shrink
from ra_core.models.method import FittedMethod

__all__ = ["PCA"]

SIDE = 64
"""Images are reduced to this side: the covariance has SIDE to the fourth entries."""


class PCA(FittedMethod):
    """Reconstruction from at most 64 principal components of healthy images.

    The statistics are a count and two sums, so hospitals could add them up.

    Args:
        mean: (SIDE²,) mean image.
        components: (K, SIDE²) orthonormal rows.
    """

    federates = True

    def __init__(self, mean: Tensor, components: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("components", components)
        self.mean: Tensor
        self.components: Tensor

    @classmethod
    def statistics(cls, batches: Iterable[Tensor]) -> dict[str, Tensor]:
        """Count (), sum (SIDE²,) and sum of outer products (SIDE², SIDE²), float64, of (N, 1, S, S) batches."""
        count = torch.zeros((), dtype=torch.float64)
        total, outer = torch.zeros(SIDE**2, dtype=torch.float64), torch.zeros(SIDE**2, SIDE**2, dtype=torch.float64)
        for batch in batches:
            flat = shrink(batch, SIDE).flatten(1).double()
            count, total = count + len(flat), total + flat.sum(0)
            outer.addmm_(flat.T, flat)
        return {"count": count, "sum": total, "outer": outer}

    @classmethod
    def from_statistics(cls, statistics: Mapping[str, Tensor]) -> PCA:
        """The leading 64 components, or one fewer than there were images.

        Raises:
            ValueError: fewer than two images, or all the same.
        """
        count = int(statistics["count"])
        if count < 2:
            raise ValueError(f"PCA of {count} images: at least two are needed")
        mean = statistics["sum"] / count
        # Scatter is covariance times count. Reading one triangle of it is half the work: memory is the bottleneck.
        scatter = torch.addr(statistics["outer"], mean, statistics["sum"], alpha=-1).numpy()
        # No variance beyond rounding: images that differ in one pixel by one grey level have a thousand times more.
        if scatter.trace() <= 1e-12 * float(statistics["outer"].trace()):
            raise ValueError(f"PCA of {count} images that are all the same: there is nothing to find")
        product = LinearOperator(scatter.shape, matvec=lambda v: dsymv(1.0, scatter.T, v), dtype=scatter.dtype)
        # A fixed start vector: the iteration begins at a random one otherwise, and no two runs would agree. SciPy's
        # BLAS has threads of its own, as many as cores, and their number changes the bits: here it takes torch's.
        with threadpool_limits(limits=torch.get_num_threads(), user_api="blas"):
            _, vectors = eigsh(product, k=min(64, count - 1), v0=np.ones(len(scatter)))
        return cls(mean.float(), torch.from_numpy(np.ascontiguousarray(vectors.T)).float())

    def reconstruct(self, x: Tensor) -> Tensor:
        """Projection onto the components, at the size of x: (N, 1, S, S) in [0, 1] -> the same."""
        return enlarge(self._project(shrink(x, SIDE)), x).clamp(0, 1)

    def compared(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both at the reduced size, enlarged: what the components lack in sharpness is no anomaly."""
        low = shrink(x, SIDE)
        return enlarge(low, x), enlarge(self._project(low), x)

    def _project(self, low: Tensor) -> Tensor:
        centred = low.flatten(1) - self.mean
        return (self.mean + centred @ self.components.T @ self.components).view_as(low)
