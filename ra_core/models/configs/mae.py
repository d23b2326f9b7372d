"""Settings of the masked autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from ra_core.models.configs.base import MethodSettings

__all__ = ["MAEConfig"]


class MAEConfig(MethodSettings):
    """Masked autoencoder: a transformer that predicts hidden patches of an image from those it is shown.

    At 64 x 64, `small` has 1.2 M parameters. `paper` has 63.6 M at 128 x 128: the settings of the RA paper's authors,
    whose encoder and decoder are equally wide; He et al. have a narrower decoder.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "small": {},
        "paper": {
            "patch": 16,
            "dim": 512,
            "depth": 12,
            "heads": 16,
            "decoder_depth": 8,
            "masks": 30,
            "learning_rate": 1e-4,
        },
    }
    source: ClassVar[str] = "He et al. 2022, arXiv 2111.06377"
    has_norms: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("timm",)

    name: Literal["mae"] = Field("mae", description="the method")
    patch: int = Field(8, ge=1, description="side of a patch in pixels; the image's side must be a multiple")
    dim: int = Field(128, ge=4, multiple_of=4, description="width of a token, in encoder and decoder")
    depth: int = Field(4, ge=1, description="blocks of the encoder")
    heads: int = Field(4, ge=1, description="heads of attention; must divide dim")
    decoder_depth: int = Field(2, ge=1, description="blocks of the decoder")
    mask_ratio: float = Field(0.75, ge=0.5, lt=1, description="share of patches that are hidden")
    masks: int = Field(8, ge=2, description="fixed masks behind a reconstruction; the first two cover the image")
    learning_rate: float = Field(1e-3, gt=0, description="Adam")

    def rate(self, step: int) -> float:  # noqa: ARG002
        """One for all steps."""
        return self.learning_rate

    @property
    def side_multiple(self) -> int:
        """Images are cut into patches."""
        return self.patch

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> MAEConfig:
        if self.dim % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide dim ({self.dim})")
        return self
