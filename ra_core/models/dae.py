"""Denoising autoencoder (DAE): a U-Net takes coarse noise off healthy images, and off sick ones what looks like it.

Noise is drawn on a coarse grid, enlarged to the image and moved by a random shift, so that it has no fixed lattice; it
is added to the foreground alone. No noise is added to an image that is scored: its twin is what the U-Net makes of it.
The authors leave the background out of loss and map; here both have all pixels, since a lesion may be as dark as the
background.

Reference: Kascenas et al., "Denoising Autoencoders for Unsupervised Anomaly Detection in Brain MRI", MIDL 2022, PMLR
172; and the authors' code, for the noise and the optimizer.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from ra_core.losses import squared_error
from ra_core.models.blocks import layout, means
from ra_core.models.configs import DAEConfig
from ra_core.models.method import GradientMethod, Reconstruction, StepState
from ra_core.models.unet import UNet

__all__ = ["DAE"]

FOREGROUND = 0.01
"""Pixels above this get noise."""


class DAE(Reconstruction, GradientMethod):
    """Denoising autoencoder for square grey images.

    Args:
        config: architecture and noise.
        size: side of the images, a multiple of 2 to the power of the number of widths less 1.

    Raises:
        ValueError: the size is none.

    Example:
        >>> model = DAE(DAEConfig(), size=64)
        >>> model.reconstruct(torch.rand(2, 1, 64, 64)).shape
        torch.Size([2, 1, 64, 64])
    """

    def __init__(self, config: DAEConfig, size: int) -> None:
        super().__init__()
        config.require_side(size)
        self.config = config
        self.memory_format = layout(config.channels)
        self.unet = UNet(config.channels)

    def reconstruct(self, x: Tensor) -> Tensor:
        """What the U-Net makes of the image: (N, 1, S, S) in [0, 1] -> the same. Deterministic."""
        out: Tensor = self.unet(x)
        return out.clamp(0, 1)

    def shared_parts(self) -> dict[str, nn.Module]:
        """The U-Net."""
        return {"unet": self.unet}

    def optimizers(self) -> dict[str, Optimizer]:
        """The authors' Adam."""
        return self.adams(lr=self.config.learning_rate, amsgrad=True, weight_decay=1e-5)

    def training_step(self, batch: Tensor, state: StepState) -> dict[str, float]:
        """One step of taking noise off."""
        state.set_rate(self.config.rate(state.step))
        with state.autocast():
            clean = self.unet(batch + self.noise(batch, state))
        error = squared_error(batch, clean)
        loss = error if self.config.error == "squared" else (batch - clean.float()).abs().flatten(1).mean(1)
        state.descend("loss", loss.mean(), "unet")
        return means(loss=loss, error=error)

    def noise(self, x: Tensor, state: StepState) -> Tensor:
        """Coarse noise on the foreground of (N, 1, S, S), of the same shape; one shift for the whole batch."""
        c, side = self.config, x.shape[-1]
        coarse = c.noise_std * state.noise("coarse", len(x), 1, c.noise_side, c.noise_side)
        fine = F.interpolate(coarse, size=x.shape[-2:], mode="bilinear", align_corners=True)
        uniform = torch.special.ndtr(state.noise("shift", 2).cpu())  # the normal distribution function of normal draws
        down, right = (uniform * side).long().tolist()
        return fine.roll((down, right), dims=(2, 3)) * (x > FOREGROUND)
