"""Autoencoder with a perceptual loss: its drawing has to look like the image to a network trained on photographs.

Loss: w_rec·error + w_perceptual·mean_l { Σ |φ_l(x) − φ_l(x̂)| / Σ |φ_l(x)| }, where error is the mean squared error per
pixel and φ_l are feature maps of a frozen pretrained network, which is no part of the model. It is needed in training
alone.

With `epsilon`, the code is squeezed to [0, 1] by a sigmoid and blurred by Laplace noise of scale 1/epsilon in training,
which bounds what it can say of an image (QBAE's bottleneck; its U-Net isn't built here). No noise is drawn in scoring.

References:
    Shvetsova et al., "Anomaly Detection in Medical Imaging with Deep Perceptual Autoencoders", IEEE Access 2021, arXiv
        2006.13265.
    QBAE, arXiv 2610.09670, 2026.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ra_core.losses import squared_error
from ra_core.models.blocks import means
from ra_core.models.configs import PerceptualAEConfig
from ra_core.models.encoder_decoder import Decoder, Encoder, EncoderDecoder
from ra_core.models.features import pretrained
from ra_core.models.method import StepState

__all__ = ["PerceptualAE", "relative_difference"]


class PerceptualAE(EncoderDecoder):
    """Autoencoder with a perceptual loss for square grey images.

    Example:
        >>> model = PerceptualAE(PerceptualAEConfig(), size=64)
        >>> model.reconstruct(torch.rand(2, 1, 64, 64)).shape
        torch.Size([2, 1, 64, 64])
    """

    config: PerceptualAEConfig

    def __init__(self, config: PerceptualAEConfig, size: int) -> None:
        super().__init__(config, size)
        spatial = config.bottleneck == "spatial"
        self.encoder = Encoder(config, size, spatial)
        self.decoder = Decoder(config, size, spatial)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Decode the code: (N, 1, S, S) in [0, 1] -> the same. Deterministic."""
        out: Tensor = self.decoder(self._code(x))
        return out

    def training_step(self, batch: Tensor, state: StepState) -> dict[str, float]:
        """One step of both parts.

        Raises:
            WeightsError: the pretrained network is nowhere on this machine.
            NonFiniteError: as its base has it.
        """
        c = self.config
        network = pretrained(c.perceptual, str(state.device))
        with state.autocast():
            code = self._code(batch)
            x_hat = self.decoder(code + self._blur(code, state) if c.epsilon else code)
        error = squared_error(batch, x_hat)
        seen, drawn = network.features(batch), network.features(x_hat)
        perceptual = relative_difference([seen[k] for k in c.levels], [drawn[k] for k in c.levels])
        state.check(error=error, perceptual=perceptual)
        loss = (c.w_rec * error + c.w_perceptual * perceptual).mean()
        state.descend("loss", loss, "encoder", "decoder")
        return means(loss=loss, error=error, perceptual=perceptual)

    def _code(self, x: Tensor) -> Tensor:
        code: Tensor = self.encoder(x)
        return torch.sigmoid(code.float()) if self.config.epsilon else code

    def _blur(self, code: Tensor, state: StepState) -> Tensor:
        """Laplace noise: ab + cd of four standard normal draws has the density exp(−|t|) / 2."""
        a, b, c, d = state.noise("code", 4, *code.shape).unbind()
        return (a * b + c * d) / self.config.epsilon


def relative_difference(real: Sequence[Tensor], drawn: Sequence[Tensor]) -> Tensor:
    """L1 distance of feature maps over the real ones' L1 norm, averaged over the levels: (N,), at least 0.

    Args:
        real: feature maps of images, each (N, C_l, H_l, W_l), float32.
        drawn: feature maps of their reconstructions, of the same shapes.
    """
    levels = []
    for a, b in zip(real, drawn, strict=True):
        norm = a.abs().flatten(1).sum(1).clamp_min(1e-6)  # an image without any feature
        levels.append((a - b).abs().flatten(1).sum(1) / norm)
    return torch.stack(levels).mean(0)
