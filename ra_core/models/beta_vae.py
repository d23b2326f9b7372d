"""Beta-VAE: a variational autoencoder whose latent may hold so many nats and no more.

Type B, with a capacity C that grows linearly from 0: w_rec·error + w_kl·γ·|KL − C|, where error and KL are means over
the batch. Type H: w_rec·error + w_kl·β·KL. The error is a mean per pixel, where the papers sum over pixels: their γ and
β are ours times the weights' ratio to a summed error, so no weight here depends on the image size.

References:
    Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework", ICLR 2017.
    Burgess et al., "Understanding disentangling in β-VAE", 2018, arXiv 1804.03599.
"""

from __future__ import annotations

from torch import Tensor

from ra_core.losses import elbo_loss
from ra_core.models.configs import BetaVAEConfig
from ra_core.models.vae import VAE

__all__ = ["BetaVAE"]


class BetaVAE(VAE):
    """Beta-VAE for square grey images."""

    config: BetaVAEConfig

    def vae_loss(self, error: Tensor, kl: Tensor, step: int) -> Tensor:
        """As the module's head has it: two (N,) -> scalar."""
        c = self.config
        if c.objective == "H":
            return elbo_loss(error, kl, w_rec=c.w_rec, w_kl=c.w_kl * c.beta)
        capacity = c.capacity * min(1.0, step / c.capacity_steps)
        return c.w_rec * error.mean() + c.w_kl * c.gamma * (kl.mean() - capacity).abs()
