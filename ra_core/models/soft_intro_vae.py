"""Soft-IntroVAE: a variational autoencoder that tells real from generated images by their KL.

It is the Reversed Autoencoder without the reversed embedding similarity, with the same networks, weights and phases: a
difference between the two is that term's. The term is still logged, as `reversed`.

Reference: Daniel and Tamar, "Soft-IntroVAE: Analyzing and Improving the Introspective Variational Autoencoder", CVPR
2021, arXiv 2012.13253.
"""

from __future__ import annotations

from ra_core.models.configs import RAConfig, SoftIntroVAEConfig
from ra_core.models.ra import RA

__all__ = ["SoftIntroVAE"]


class SoftIntroVAE(RA):
    """A Reversed Autoencoder with `w_rev` at 0."""

    def __init__(self, config: SoftIntroVAEConfig, size: int) -> None:
        super().__init__(RAConfig(**config.model_dump(exclude={"name"}), w_rev=0.0), size)
