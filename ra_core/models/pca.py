"""PCA residual: what the leading principal components of healthy images can't express. A strong simple baseline."""

from __future__ import annotations

from torch import Tensor

from ra_core.models.blocks import enlarge, shrink
from ra_core.models.configs import PCAConfig
from ra_core.models.method import Reconstruction
from ra_core.models.principal import PrincipalMethod

__all__ = ["PCA"]


class PCA(Reconstruction, PrincipalMethod):
    """Reconstruction from the leading principal components of healthy images, at SIDE x SIDE."""

    def __init__(self, config: PCAConfig, size: int) -> None:  # noqa: ARG002
        super().__init__(config.components)
        self.config = config

    def reconstruct(self, x: Tensor) -> Tensor:
        """Projection onto the components, at the size of x: (N, 1, S, S) in [0, 1] -> the same."""
        return enlarge(self._project(x), x).clamp(0, 1)

    def compared(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both at the reduced size, enlarged: what the components lack in sharpness is no anomaly."""
        low = self._project(x)
        return enlarge(shrink(x, low.shape[-1]), x), enlarge(low, x)

    def _project(self, x: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N, 1, SIDE, SIDE)."""
        return self.picture(self.combined(self.coordinates(self.centred(x))))
