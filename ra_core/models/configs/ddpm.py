"""Settings of the denoising diffusion model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ra_core.models.configs.base import MethodSettings

__all__ = ["TIMESTEPS", "DDPMConfig"]

TIMESTEPS = 1000
"""Steps from an image to pure noise."""


class DDPMConfig(MethodSettings):
    """Diffusion model: an image is noised in part, and denoised by a network that has seen healthy images alone.

    `small` has 1.8 M parameters and denoises in ten strides, by DDIM. `paper` has the RA paper's authors' settings:
    18.5 M, one step after the other, each with fresh noise. Both have AnoDDPM's simplex noise; `noise: gaussian` beside
    the preset makes it the authors' AnoDDPM-G.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "small": {},
        "paper": {
            "channels": (128, 256, 256),
            "attention": 2,
            "trained_level": TIMESTEPS,
            "denoising_steps": 250,
            "eta": 1.0,
            "learning_rate": 1e-4,
        },
    }
    source: ClassVar[str] = "Ho et al. 2020, arXiv 2006.11239; Wyatt et al. 2022 (AnoDDPM, CVPR workshops)"
    parts: ClassVar[tuple[str, ...]] = ("unet",)
    has_norms: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("diffusers",)

    name: Literal["ddpm"] = Field("ddpm", description="the method")
    channels: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (16, 32, 64, 96), min_length=2, description="widths of the U-Net, from fine to coarse"
    )
    layers: int = Field(1, ge=1, description="residual blocks a width on the way down; one more on the way up")
    attention: int = Field(1, ge=0, description="coarsest widths that have self-attention")
    noise: Literal["simplex", "gaussian"] = Field("simplex", description="kind of noise, in training and scoring")
    octaves: int = Field(6, ge=1, le=12, description="of simplex noise, each half as long as the one before")
    persistence: float = Field(0.8, gt=0, le=1, description="of simplex noise: an octave's amplitude by the one before")
    wavelength: float = Field(64.0, gt=0, description="of simplex noise: of the first octave, in pixels")
    trained_level: int = Field(
        250, ge=1, le=TIMESTEPS, description="most noise seen in training, of 1000; at least noise_level"
    )
    noise_level: int = Field(250, ge=1, le=TIMESTEPS, description="noise on an image to score, of 1000")
    denoising_steps: int = Field(10, ge=1, description="strides back from there, of a length that divides 1000")
    eta: float = Field(0.0, ge=0, le=1, description="fresh noise in a stride: 0 is none (DDIM), 1 is DDPM's")
    samples: int = Field(1, ge=1, description="denoised images, each from noise of its own, that are averaged")
    learning_rate: float = Field(5e-4, gt=0, description="Adam")

    def rate(self, step: int) -> float:  # noqa: ARG002
        """One for all steps."""
        return self.learning_rate

    @property
    def side_multiple(self) -> int:
        """Each width but the last halves the image."""
        return int(2 ** (len(self.channels) - 1))

    @property
    def stride(self) -> int:
        """Length of a stride of denoising, in steps."""
        return self.noise_level // self.denoising_steps

    @model_validator(mode="after")
    def _levels_fit(self) -> DDPMConfig:
        if self.noise_level > self.trained_level:
            raise ValueError(f"noise_level ({self.noise_level}) is above trained_level ({self.trained_level})")
        if self.noise_level % self.denoising_steps or TIMESTEPS % self.stride:
            lengths = [n for n in range(1, TIMESTEPS + 1) if not self.noise_level % n and not TIMESTEPS % n]
            fitting = ", ".join(str(self.noise_level // n) for n in lengths)
            raise ValueError(f"denoising_steps ({self.denoising_steps}) must be one of {fitting}")
        if self.attention > len(self.channels):
            raise ValueError(f"attention ({self.attention}) is more than there are channels ({len(self.channels)})")
        return self
