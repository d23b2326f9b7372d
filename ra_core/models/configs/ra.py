"""Settings of the Reversed Autoencoder."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ra_core.models.configs.autoencoders import IntrospectiveSettings

__all__ = ["RAConfig"]


class RAConfig(IntrospectiveSettings):
    """Reversed Autoencoder: a Soft-IntroVAE whose encoder must see the same in an image and in its reconstruction.

    At 128 x 128, `small` has 2.4 M parameters, for CPUs. `paper` has the authors' settings: 29.4 M, no warm-up.
    """

    source: ClassVar[str] = "Bercea et al. 2024, arXiv 2401.10637"

    name: Literal["ra"] = Field("ra", description="the method")
    w_rev: float = Field(0.005, ge=0, description="weight of the reversed embedding similarity")
