"""Settings of differential privacy; apart from the rest, so that who only reads settings needs no torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ra_core.settings import Config

__all__ = ["MOST_NOISE", "Delta", "Noise", "Outside", "PrivacyConfig"]

Delta = Annotated[float, Field(gt=0, lt=1)]

MOST_NOISE = 1e4
"""With more nothing is learned, and the accountant takes long or fails."""

FAINTEST_NOISE = 1e-9
"""With less the accountant's numbers overflow and it never ends; this hides nothing any more."""

Noise = Annotated[float, Field(ge=FAINTEST_NOISE, le=MOST_NOISE)]
"""A noise multiplier."""

Outside = Literal["metrics", "counts", "histograms"]
"""What no epsilon covers: means over a site's images; counts of images, patients and files, with the fingerprint;
histograms of scores, with counts of patients above thresholds."""


class PrivacyConfig(Config):
    """Differential privacy of each patient of each site. Without it there is none."""

    noise_multiplier: Noise | None = Field(
        None, description="spread of the noise over clip_norm, in each sum of gradients; null: what epsilon needs"
    )
    epsilon: float | None = Field(
        None, gt=0, description="most that all updates of one run may spend at a site; null: as much as the noise gives"
    )
    spare_rounds: int = Field(
        1,
        ge=0,
        description="rounds that the noise for epsilon leaves room for beyond federation.rounds: repeated ones",
    )
    delta: Delta = Field(1e-5, description="chance that epsilon doesn't hold; smaller than 1 / patients of any site")
    clip_norm: float = Field(1.0, gt=0, description="L2 norm that a patient's gradient is shortened to in each sum")
    sampling_rate: float = Field(
        0.05, gt=0, le=1, description="chance of each patient, with one image, to be in a sum; the same at all sites"
    )

    @model_validator(mode="after")
    def _noise_or_target(self) -> Self:
        if self.noise_multiplier is None and self.epsilon is None:
            raise ValueError("neither noise_multiplier nor epsilon is given: nothing says how much noise there is")
        return self
