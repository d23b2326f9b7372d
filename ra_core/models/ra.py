"""Reversed Autoencoder (RA): a Soft-IntroVAE whose encoder must see the same in an image and in its reconstruction.

The encoder maps an image to a normal distribution over latents, the decoder maps a latent to an image. Both play
against each other (the encoder tells real from generated images by their KL, the decoder makes images that fool it),
and a reversed embedding similarity keeps reconstructions anatomically close to the input. Trained on healthy images
only, the posterior-mean reconstruction of a sick image is its pseudo-healthy twin.

Reference: Bercea et al., "Towards Universal Unsupervised Anomaly Detection in Medical Imaging", arXiv 2401.10637.
Where paper and authors' code leave room, `docs/method.md` says what was chosen and why.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from ra_core.losses import (
    decoder_loss,
    elbo_loss,
    encoder_loss,
    introspective_push,
    kl_divergence,
    reversed_similarity,
    squared_error,
)
from ra_core.models.blocks import ResidualBlock, norm_layer
from ra_core.models.configs import RAConfig
from ra_core.models.method import GradientMethod, Reconstruction, StepState

__all__ = ["RA"]


class Encoder(nn.Module):
    """(N, 1, S, S) -> mean and log-variance of q(z|x), each (N, Z), and the embeddings after each pooling."""

    def __init__(self, config: RAConfig, size: int) -> None:
        super().__init__()
        widths = config.channels
        self.stem = nn.Sequential(
            nn.Conv2d(1, widths[0], 5, padding=2, bias=False), norm_layer(config.norm, widths[0]), nn.LeakyReLU(0.2)
        )
        pairs = pairwise(widths)
        self.blocks = nn.ModuleList(ResidualBlock(a, b, config.norm) for a, b in pairs)
        self.last = ResidualBlock(widths[-1], widths[-1], config.norm)
        side = size // 2 ** len(widths)
        self.head = nn.Linear(widths[-1] * side * side, 2 * config.latent)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Encode."""
        h = F.avg_pool2d(self.stem(x), 2)  # (N, C_0, S/2, S/2)
        embeddings = [h]
        for block in self.blocks:
            h = F.avg_pool2d(block(h), 2)  # halves the side each time
            embeddings.append(h)
        mu, logvar = self.head(self.last(h).flatten(1)).chunk(2, dim=1)
        return mu, logvar, embeddings


class Decoder(nn.Module):
    """(N, Z) -> (N, 1, S, S) in [0, 1]."""

    def __init__(self, config: RAConfig, size: int) -> None:
        super().__init__()
        widths = config.channels[::-1]
        side = size // 2 ** len(widths)
        self.shape = (widths[0], side, side)
        self.tail = nn.Linear(config.latent, widths[0] * side * side)
        pairs = zip((widths[0], *widths[:-1]), widths, strict=True)
        self.blocks = nn.ModuleList(ResidualBlock(a, b, config.norm) for a, b in pairs)
        self.last = ResidualBlock(widths[-1], widths[-1], config.norm)
        self.head = nn.Conv2d(widths[-1], 1, 5, padding=2)

    def forward(self, z: Tensor) -> Tensor:
        """Decode."""
        h = F.relu(self.tail(z)).view(-1, *self.shape)
        for block in self.blocks:
            h = F.interpolate(block(h), scale_factor=2, mode="nearest")
        return torch.sigmoid(self.head(self.last(h)))


class RA(Reconstruction, GradientMethod):
    """Reversed Autoencoder for square grey images.

    Args:
        config: architecture and objective.
        size: side of the images, a multiple of 2 to the power of the number of widths.

    Example:
        >>> model = RA(RAConfig(), size=64)
        >>> model.reconstruct(torch.rand(2, 1, 64, 64)).shape
        torch.Size([2, 1, 64, 64])
    """

    def __init__(self, config: RAConfig, size: int) -> None:
        super().__init__()
        if size % 2 ** len(config.channels):
            raise ValueError(f"size {size} is no multiple of {2 ** len(config.channels)}")
        self.config = config
        self.memory_format = torch.channels_last if config.channels[0] >= 64 else torch.contiguous_format
        self.encoder = Encoder(config, size)
        self.decoder = Decoder(config, size)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Decode the posterior mean: (N, 1, S, S) in [0, 1] -> the same. Deterministic."""
        mu, _, _ = self.encoder(x)
        out: Tensor = self.decoder(mu)
        return out

    def shared_parts(self) -> dict[str, nn.Module]:
        """Encoder and decoder."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    def optimizers(self) -> dict[str, Optimizer]:
        """One Adam for each part."""
        return {
            part: Adam(module.parameters(), lr=self.config.learning_rate)
            for part, module in self.shared_parts().items()
        }

    def ready_for_selection(self, step: int) -> bool:
        """Only weights from the introspective phase are an RA."""
        return step > self.config.unselectable_steps

    def training_step(self, batch: Tensor, state: StepState) -> dict[str, float]:
        """A VAE step during the warm-up, else an encoder step followed by a decoder step."""
        c = self.config
        warming_up = state.step < c.warmup_steps
        for optimizer in state.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = c.warmup_learning_rate if warming_up else c.learning_rate
        if warming_up:
            return self._vae_step(batch, state)
        terms, latents = self._encoder_step(batch, state)
        return terms | self._decoder_step(batch, latents, state)

    def _vae_step(self, x: Tensor, state: StepState) -> dict[str, float]:
        with state.autocast():
            mu, logvar, _ = self.encoder(x)
            x_hat = self.decoder(_sample(mu, logvar, state.noise("z", *mu.shape)))
        error, kl = squared_error(x, x_hat), kl_divergence(mu, logvar)
        state.check(error=error, kl_real=kl)
        loss = elbo_loss(error, kl, w_rec=self.config.w_rec, w_kl=self.config.w_kl)
        state.descend("vae", loss, "encoder", "decoder")
        return _means(vae=loss, error=error, kl_real=kl)

    def _encoder_step(self, x: Tensor, state: StepState) -> tuple[dict[str, float], Tensor]:
        """Loss terms, and the latents [z; z_p] (2N, Z), detached, for the decoder's turn."""
        c, n = self.config, len(x)
        with state.autocast():
            mu, logvar, seen = self.encoder(x)
            z = _sample(mu, logvar, state.noise("z", *mu.shape))
            latents = torch.cat([z, state.noise("prior", *mu.shape)])
            generated = self.decoder(latents)
            # One pass over [x̂; x_f]. Detached here: the encoder is to judge them, not to change what it judges.
            mu_g, logvar_g, seen_g = self.encoder(generated.detach())
            again = self.decoder(_sample(mu_g, logvar_g, state.noise("z generated", *mu_g.shape)))
        error, kl = squared_error(x, generated[:n]), kl_divergence(mu, logvar)
        # x̂ is not detached as the target of its own reconstruction, as in Soft-IntroVAE's code.
        error_g, kl_g = squared_error(generated, again), kl_divergence(mu_g, logvar_g)
        elbo = elbo_loss(error, kl, w_rec=c.w_rec, w_kl=c.w_kl)
        push_hat = introspective_push(error_g[:n], kl_g[:n], w_rec=c.w_rec, w_neg=c.w_neg)
        push_fake = introspective_push(error_g[n:], kl_g[n:], w_rec=c.w_rec, w_neg=c.w_neg)
        l_rev = reversed_similarity(seen, [level[:n] for level in seen_g])
        state.check(error=error, kl_real=kl, kl_reconstructed=kl_g[:n], kl_fake=kl_g[n:], reversed=l_rev)
        loss = encoder_loss(elbo, push_hat, push_fake, l_rev, w_rev=c.w_rev)
        state.descend("encoder", loss, "encoder")
        terms = _means(encoder=loss, error=error, kl_real=kl, kl_reconstructed=kl_g[:n], kl_fake=kl_g[n:])
        # The gap is what keeps introspection alive: where it turns negative, generated images pass for real ones.
        terms |= {"kl_gap": terms["kl_fake"] - terms["kl_real"]}
        return terms | _means(reversed=l_rev), latents.detach()

    def _decoder_step(self, x: Tensor, latents: Tensor, state: StepState) -> dict[str, float]:
        c, n = self.config, len(x)
        with state.autocast():
            generated = self.decoder(latents)
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
        state.check(decoder_error=error, decoder_kl=kl_g)
        state.descend("decoder", loss, "decoder")
        return _means(decoder=loss)

    def _decode_again(self, mu: Tensor, logvar: Tensor, state: StepState) -> Tensor:
        """Decode z ~ q(z|generated), with z detached: only the decoder learns from it."""
        out: Tensor = self.decoder(_sample(mu, logvar, state.noise("z generated again", *mu.shape)).detach())
        return out


def _sample(mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    """Z = mu + σ·noise in float32: the latent is too small to gain from half precision."""
    return mu.float() + (0.5 * logvar.float()).exp() * noise


def _means(**terms: Tensor) -> dict[str, float]:
    return {name: float(value.detach().mean()) for name, value in terms.items()}
