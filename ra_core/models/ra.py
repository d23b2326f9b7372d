"""Reversed Autoencoder (RA): a Soft-IntroVAE whose encoder must see the same in an image and in its reconstruction.

The encoder maps an image to a normal distribution over latents, the decoder maps a latent to an image. Both play
against each other (the encoder tells real from generated images by their KL, the decoder makes images that fool it),
and a reversed embedding similarity keeps reconstructions anatomically close to the input. Trained on healthy images
only, the posterior-mean reconstruction of a sick image is its pseudo-healthy twin.

Reference: Bercea et al., "Towards Universal Unsupervised Anomaly Detection in Medical Imaging", arXiv 2401.10637.
Where paper and authors' code leave room, `docs/method.md` says what was chosen and why.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ra_core.losses import (
    decoder_loss,
    elbo_loss,
    encoder_loss,
    introspective_push,
    kl_divergence,
    reversed_similarity,
    squared_error,
)
from ra_core.models.blocks import means
from ra_core.models.configs import RAConfig
from ra_core.models.method import StepState, Turn
from ra_core.models.vae import Variational, sample

__all__ = ["RA"]


class RA(Variational):
    """Reversed Autoencoder for square grey images.

    Args:
        config: architecture and objective.
        size: side of the images, a multiple of 2 to the power of the number of widths.

    Example:
        >>> model = RA(RAConfig(), size=64)
        >>> model.reconstruct(torch.rand(2, 1, 64, 64)).shape
        torch.Size([2, 1, 64, 64])
    """

    config: RAConfig

    def ready_for_selection(self, step: int) -> bool:
        """Only weights from the introspective phase are an RA."""
        return step > self.config.unselectable_steps

    def training_step(self, batch: Tensor, state: StepState) -> dict[str, float]:
        """A VAE step during the warm-up, else an encoder step followed by a decoder step."""
        c = self.config
        state.set_rate(c.rate(state.step))
        if state.step < c.warmup_steps:
            return self.vae_step(batch, state)
        terms, generated = self._encoder_step(batch, state)
        return terms | self._decoder_step(batch, generated, state)

    def turns(self, step: int) -> tuple[Turn, ...]:
        """In the warm-up one of both parts together, then the encoder's and the decoder's, each on images of its own.

        A decoder's turn draws its latents anew: those of the encoder's turn are of other patients.
        """
        rate = self.config.rate(step)
        if step < self.config.warmup_steps:
            return (Turn("vae", ("encoder", "decoder"), rate, self.bound),)

        def encoder(x: Tensor, state: StepState) -> tuple[Tensor, dict[str, Tensor]]:
            loss, terms, _ = self._encoder_loss(x, state)
            return loss, terms

        def decoder(x: Tensor, state: StepState) -> tuple[Tensor, dict[str, Tensor]]:
            mu, logvar, _ = self.encoder(x)
            loss, _ = self._decoder_loss(x, self.decoder(self._latents(mu, logvar, state).detach()), state)
            return loss, {}

        return Turn("encoder", ("encoder",), rate, encoder), Turn("decoder", ("decoder",), rate, decoder)

    def _encoder_step(self, x: Tensor, state: StepState) -> tuple[dict[str, float], Tensor]:
        """Loss terms, and the images [x̂; x_f] for the decoder's turn.

        The decoder stays as it was meanwhile and would draw the same images again: that pass is a fourteenth of a step.
        """
        loss, found, generated = self._encoder_loss(x, state)
        state.check(**found)
        state.descend("encoder", loss, "encoder", keep_graph=True)
        terms = means(encoder=loss, **found)
        # The gap is what keeps introspection alive: where it turns negative, generated images pass for real ones.
        return terms | {"kl_gap": terms["kl_fake"] - terms["kl_real"]}, generated

    def _encoder_loss(self, x: Tensor, state: StepState) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """L_E of a batch, a scalar; what it is made of, (N,) or a scalar each; and [x̂; x_f], (2N, 1, S, S)."""
        c, n = self.config, len(x)
        with state.autocast():
            mu, logvar, seen = self.encoder(x)
            generated = self.decoder(self._latents(mu, logvar, state))
            # One pass over [x̂; x_f], which gives x̂'s embeddings too: 19.6 GFLOP in place of 29.5 with both apart and x̂
            # once more for these, 0.66 s in place of 1.10 s (`small`, 8 images of 128 x 128, one core, other work).
            # Detached here: the encoder is to judge them, not to change what it judges.
            mu_g, logvar_g, seen_g = self.encoder(generated.detach())
            again = self.decoder(sample(mu_g, logvar_g, state.noise("z generated", *mu_g.shape)))
        error, kl = squared_error(x, generated[:n]), kl_divergence(mu, logvar)
        # x̂ is not detached as the target of its own reconstruction, as in Soft-IntroVAE's code.
        error_g, kl_g = squared_error(generated, again), kl_divergence(mu_g, logvar_g)
        elbo = elbo_loss(error, kl, w_rec=c.w_rec, w_kl=c.w_kl)
        push_hat = introspective_push(error_g[:n], kl_g[:n], w_rec=c.w_rec, w_neg=c.w_neg)
        push_fake = introspective_push(error_g[n:], kl_g[n:], w_rec=c.w_rec, w_neg=c.w_neg)
        l_rev = reversed_similarity(seen, [level[:n] for level in seen_g])
        terms = {"error": error, "kl_real": kl, "kl_reconstructed": kl_g[:n], "kl_fake": kl_g[n:], "reversed": l_rev}
        return encoder_loss(elbo, push_hat, push_fake, l_rev, w_rev=c.w_rev), terms, generated

    @staticmethod
    def _latents(mu: Tensor, logvar: Tensor, state: StepState) -> Tensor:
        """[z; z_p], those of images and those of the prior: two (N, Z) -> (2N, Z)."""
        z = sample(mu, logvar, state.noise("z", *mu.shape))
        return torch.cat([z, state.noise("prior", *mu.shape)])

    def _decoder_step(self, x: Tensor, generated: Tensor, state: StepState) -> dict[str, float]:
        loss, terms = self._decoder_loss(x, generated, state)
        state.check(**terms)
        state.descend("decoder", loss, "decoder")
        return means(decoder=loss)

    def _decoder_loss(self, x: Tensor, generated: Tensor, state: StepState) -> tuple[Tensor, dict[str, Tensor]]:
        """L_D of a batch and its [x̂; x_f], a scalar, and what it is made of, (N,) and (2N,)."""
        c, n = self.config, len(x)
        with state.autocast():
            mu_g, logvar_g, _ = self.encoder(generated)
            again = self._decode_again(mu_g, logvar_g, state) if c.gamma_r else None
        error, kl_g = squared_error(x, generated[:n]), kl_divergence(mu_g, logvar_g)
        error_g = None if again is None else squared_error(generated.detach(), again)
        loss = decoder_loss(
            error,
            kl_g[:n],
            kl_g[n:],
            None if error_g is None else error_g[:n],
            None if error_g is None else error_g[n:],
            w_rec=c.w_rec,
            w_kl=c.w_kl,
            gamma_r=c.gamma_r,
        )
        return loss, {"decoder_error": error, "decoder_kl": kl_g}

    def _decode_again(self, mu: Tensor, logvar: Tensor, state: StepState) -> Tensor:
        """Decode z ~ q(z|generated), with z detached: only the decoder learns from it."""
        out: Tensor = self.decoder(sample(mu, logvar, state.noise("z generated again", *mu.shape)).detach())
        return out
