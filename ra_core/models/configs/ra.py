"""Settings of the Reversed Autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ra_core.models.configs.base import MethodSettings
from ra_core.models.norms import Norm

__all__ = ["RAConfig"]


class RAConfig(MethodSettings):
    """Reversed Autoencoder: a Soft-IntroVAE whose encoder must see the same in an image and in its reconstruction.

    At 128 x 128, `small` has 2.4 M parameters, for CPUs. `paper` has the authors' settings: 29.4 M, no warm-up.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "small": {},
        "paper": {
            "channels": (64, 128, 256, 512, 512),
            "norm": "frozen_batch",
            "w_kl": 1 / 16384,
            "w_neg": 128 / 16384,
            "gamma_r": 1e-8,
            "learning_rate": 5e-5,
            "warmup_steps": 0,
        },
    }
    source: ClassVar[str] = "Bercea et al. 2024, arXiv 2401.10637"

    name: Literal["ra"] = Field("ra", description="the method")
    channels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (16, 32, 64, 128, 128), min_length=2, description="widths, from fine to coarse"
    )
    latent: int = Field(128, ge=1, description="size of the latent vector")
    norm: Norm = Field("group", description="group, frozen_batch (the authors' code) or batch")
    w_rec: float = Field(0.5, gt=0, description="weight of the mean squared error per pixel")
    w_kl: float = Field(0.15 / 4096, ge=0, description="weight of a nat of KL of real images")
    w_neg: float = Field(96 / 4096, gt=0, description="weight of a nat of KL of generated images in the encoder's push")
    w_rev: float = Field(0.005, ge=0, description="weight of the reversed embedding similarity")
    gamma_r: float = Field(0.0, ge=0, description="weight of the generated images' errors in the decoder's loss")
    learning_rate: float = Field(3e-4, gt=0, description="Adam, encoder and decoder, introspective phase")
    warmup_steps: int = Field(2000, ge=0, description="first steps as a plain VAE: introspection wants good decoding")
    warmup_learning_rate: float = Field(1e-3, gt=0, description="Adam, during the warm-up")

    @property
    def unselectable_steps(self) -> int:
        """The warm-up: only weights from the introspective phase are an RA."""
        return self.warmup_steps

    @property
    def side_multiple(self) -> int:
        """Each width halves the image."""
        return int(2 ** len(self.channels))
