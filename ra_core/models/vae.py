"""Variational autoencoder (VAE): an image drawn from the mean of its posterior over a short latent vector.

The encoder maps an image to a normal distribution over latents, the decoder maps a latent to an image; both learn to
make a bound on the likelihood of healthy images large. What the few numbers of a latent can't say of a sick image, its
drawing lacks.

References:
    Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014, arXiv 1312.6114.
    Zimmerer et al., "Unsupervised Anomaly Localization Using Variational Auto-Encoders", MICCAI 2019, arXiv 1907.02796.
"""

from __future__ import annotations

from torch import Tensor

from ra_core.losses import elbo_loss, kl_divergence, squared_error
from ra_core.models.blocks import means
from ra_core.models.configs import VariationalSettings
from ra_core.models.encoder_decoder import Decoder, EncoderDecoder, GaussianEncoder
from ra_core.models.method import StepState, Turn

__all__ = ["VAE", "Variational", "sample"]


class Variational(EncoderDecoder):
    """A method whose encoder gives a normal distribution over latents; its twin is decoded from the mean."""

    config: VariationalSettings

    def __init__(self, config: VariationalSettings, size: int) -> None:
        super().__init__(config, size)
        self.encoder = GaussianEncoder(config, size)
        self.decoder = Decoder(config, size)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Decode the posterior mean: (N, 1, S, S) in [0, 1] -> the same. Deterministic."""
        mu, _, _ = self.encoder(x)
        out: Tensor = self.decoder(mu)
        return out

    def vae_loss(self, error: Tensor, kl: Tensor, step: int) -> Tensor:  # noqa: ARG002
        """What a plain step makes small: two (N,) -> scalar; the negative evidence lower bound."""
        return elbo_loss(error, kl, w_rec=self.config.w_rec, w_kl=self.config.w_kl)

    def vae_step(self, x: Tensor, state: StepState) -> dict[str, float]:
        """A step of both parts down `vae_loss`, with one draw of each image's latent."""
        loss, terms = self.bound(x, state)
        state.check(**terms)
        state.descend("vae", loss, "encoder", "decoder")
        return means(vae=loss, **terms)

    def bound(self, x: Tensor, state: StepState) -> tuple[Tensor, dict[str, Tensor]]:
        """`vae_loss` of a batch, a scalar, and what it is made of, each (N,)."""
        with state.autocast():
            mu, logvar, _ = self.encoder(x)
            x_hat = self.decoder(sample(mu, logvar, state.noise("z", *mu.shape)))
        error, kl = squared_error(x, x_hat), kl_divergence(mu, logvar)
        return self.vae_loss(error, kl, state.step), {"error": error, "kl_real": kl}

    def turns(self, step: int) -> tuple[Turn, ...]:
        """One, of both parts together."""
        return (Turn("vae", ("encoder", "decoder"), self.config.rate(step), self.bound),)


class VAE(Variational):
    """Variational autoencoder for square grey images."""

    def training_step(self, batch: Tensor, state: StepState) -> dict[str, float]:
        """A plain step."""
        state.set_rate(self.config.rate(state.step))
        return self.vae_step(batch, state)


def sample(mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    """Z = mu + σ·noise in float32: the latent is too small to gain from half precision."""
    return mu.float() + (0.5 * logvar.float()).exp() * noise
