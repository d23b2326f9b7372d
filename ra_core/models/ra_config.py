"""Settings of the Reversed Autoencoder; apart from the method, so that who only reads settings needs no torch."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ra_core.models.norms import Norm
from ra_core.settings import Config

__all__ = ["RAConfig"]

PRESETS: dict[str, dict[str, object]] = {
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
"""At 128 x 128, small has 2.4 M parameters, for CPUs. paper has the authors' settings: 29.4 M, no warm-up."""


class RAConfig(Config):
    """Architecture and objective of a Reversed Autoencoder; `preset: paper` or `small` may stand first."""

    shorthands: ClassVar[dict[str, str]] = {
        "preset": f"{' or '.join(PRESETS)}; stands for all keys below, so delete those that it shall set"
    }

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

    @model_validator(mode="before")
    @classmethod
    def _expand_preset(cls, data: Any) -> Any:
        """Replace `preset` by what it stands for; keys beside it win."""
        if not isinstance(data, dict) or "preset" not in data:
            return data
        given = {key: value for key, value in data.items() if key != "preset"}
        if data["preset"] not in tuple(PRESETS):  # a list has no hash
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}")
        return PRESETS[data["preset"]] | given
