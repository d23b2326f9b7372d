"""Denoising diffusion model (DDPM, AnoDDPM): an image is noised in part and denoised as a healthy one.

A U-Net trained on healthy images tells the noise in a noised image. At scoring, noise buries what is unhealthy as long
as it is not too large, and denoising puts something healthy in its place. The noise is the same for every image.

References:
    Ho et al., "Denoising diffusion probabilistic models", NeurIPS 2020.
    Song et al., "Denoising diffusion implicit models", ICLR 2021 (strides of many steps).
    Wyatt et al., "AnoDDPM", CVPR workshops 2022 (partial noising, simplex noise).
"""

from __future__ import annotations

import math

import torch
from diffusers import DDIMScheduler, UNet2DModel
from torch import Tensor, nn
from torch.optim import Optimizer

from ra_core.losses import squared_error
from ra_core.models.blocks import layout, means
from ra_core.models.configs import DDPMConfig
from ra_core.models.configs.ddpm import TIMESTEPS
from ra_core.models.method import GradientMethod, Reconstruction, StepState
from ra_core.models.simplex import Draw, simplex_noise
from ra_core.rng import generator

__all__ = ["DDPM"]

SEED = 0
"""Of the noise at scoring: part of the method, not of a run."""

JUDGED = 4
"""Levels of noise at which a healthy image is judged, evenly spread up to the noise level of scoring."""


class DDPM(Reconstruction, GradientMethod):
    """Diffusion model for square grey images; scales them to [-1, 1] for itself.

    Args:
        config: architecture, noise and sampling.
        size: side of the images, a multiple of two to the power of the number of widths but one.

    Raises:
        ValueError: the size is not.

    Example:
        >>> DDPM(DDPMConfig(), size=64).reconstruct(torch.rand(2, 1, 64, 64)).shape
        torch.Size([2, 1, 64, 64])
    """

    def __init__(self, config: DDPMConfig, size: int) -> None:
        super().__init__()
        config.require_side(size)
        self.config, self.size = config, size
        self.memory_format = layout(config.channels)
        self.unet = _unet(config, size)
        self.scheduler = DDIMScheduler(TIMESTEPS)  # noise variances from 1e-4 to 0.02, as Ho et al. have them
        self.scheduler.set_timesteps(TIMESTEPS // config.stride)  # what its step takes the stride from

    def reconstruct(self, x: Tensor) -> Tensor:
        """Noised and denoised, the mean of some samples: (N, 1, S, S) in [0, 1] -> the same. Deterministic."""
        samples = torch.stack([self._heal(2 * x - 1, number) for number in range(self.config.samples)])
        return ((samples.mean(0) + 1) / 2).clamp(0, 1)

    def healthy_error(self, x: Tensor) -> Tensor:
        """Mean squared error of the predicted noise at some levels; denoising itself would take too long."""
        errors = []
        for number in range(1, JUDGED + 1):
            time = max(0, self.config.noise_level * number // JUDGED - 1)
            noise = self._noise(_fixed(x, "judged", number), 1).expand_as(x)
            predicted = self._predict(self._noised(2 * x - 1, noise, time), time)
            errors.append(squared_error(noise, predicted))
        return torch.stack(errors).mean(0)

    def shared_parts(self) -> dict[str, nn.Module]:
        """The U-Net."""
        return {"unet": self.unet}

    def optimizers(self) -> dict[str, Optimizer]:
        """One Adam."""
        return self.adams(lr=self.config.learning_rate)

    def training_step(self, batch: Tensor, state: StepState) -> dict[str, float]:
        """Predict the noise at a random level for each image; `error` is per pixel."""
        level = self.config.trained_level
        uniform = torch.special.ndtr(state.noise("level", len(batch)))
        times = (uniform * level).long().clamp_max(level - 1)
        noise = self._noise(state.noise, len(batch))
        with state.autocast():
            predicted = self._predict(self._noised(2 * batch - 1, noise, times), times)
        error = squared_error(noise, predicted).mean()
        state.descend("error", error, "unet")
        return means(error=error)

    def _heal(self, x: Tensor, sample: int) -> Tensor:
        """Noise to the noise level, and back in strides: (N, 1, S, S) in [-1, 1] -> the same."""
        level, eta = self.config.noise_level, self.config.eta
        x = self._noised(x, self._noise(_fixed(x, "sample", sample), 1), level - 1)
        for time in range(level - 1, -1, -self.config.stride):
            fresh = self._noise(_fixed(x, "sample", sample, time), 1) if eta else None
            # Noise from the clipped image: with eta 1 and single steps this is then DDPM's own posterior.
            x = self.scheduler.step(
                self._predict(x, time), time, x, eta, use_clipped_model_output=True, variance_noise=fresh
            ).prev_sample
        return x

    def _predict(self, noised: Tensor, times: Tensor | int) -> Tensor:
        """The noise in noised images, each at its time, from 0: (N, 1, S, S)."""
        out: Tensor = self.unet(noised, times, return_dict=False)[0]
        return out

    def _noised(self, x: Tensor, noise: Tensor, times: Tensor | int) -> Tensor:
        out: Tensor = self.scheduler.add_noise(x, noise, torch.as_tensor(times))
        return out

    def _noise(self, draw: Draw, count: int) -> Tensor:
        """(count, 1, S, S) of mean 0 and variance 1."""
        c = self.config
        if c.noise == "gaussian":
            return draw("noise", count, 1, self.size, self.size)
        return simplex_noise(
            draw, count, self.size, octaves=c.octaves, persistence=c.persistence, wavelength=c.wavelength
        )


def _unet(config: DDPMConfig, size: int) -> UNet2DModel:
    """Self-attention has one head, and group norms four channels a group, or 32 groups where there are more."""
    plain = len(config.channels) - config.attention
    kinds = ["" if number < plain else "Attn" for number in range(len(config.channels))]
    return UNet2DModel(
        sample_size=size,
        in_channels=1,
        out_channels=1,
        block_out_channels=config.channels,
        layers_per_block=config.layers,
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
        add_attention=config.attention > 0,
        attention_head_dim=None,
        norm_num_groups=math.gcd(min(32, max(1, config.channels[0] // 4)), *config.channels),
    )


def _fixed(like: Tensor, *path: str | int) -> Draw:
    """Numbers that are always the same, on the device of `like`."""

    def draw(name: str, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator(SEED, *path, name)).to(like.device)

    return draw
