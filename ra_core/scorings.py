"""The ways to turn a method's maps into anomaly maps and image scores. Needs no torch.

Reference: Bercea et al. 2024, arXiv 2401.10637, and the authors' code as described in `docs/method.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from ra_core.settings import Config

__all__ = ["DISTANCE_SCORINGS", "SCORINGS", "UNCALIBRATED", "ScoringConfig", "plain"]

Factor = Literal["residual", "signed_residual", "clahe_residual", "perceptual", "clahe_perceptual", "distance"]
"""`distance` is what a method without reconstruction measures itself; `signed_residual` is negative where the image is
darker than its reconstruction, once this has been made as bright as the image is in most of the body."""

ALONE = ("distance", "signed_residual")


class ScoringConfig(Config):
    """One way to score: a product of factor maps, perhaps smoothed and standardised, then pooled to a number."""

    name: str = Field(description="how results call it")
    factors: tuple[Factor, ...] = Field(min_length=1, description="maps that are multiplied")
    perceptual_blur: float = Field(2.0, ge=0, description="sigma in pixels of the blur of each perceptual map")
    shading: float = Field(0.0, ge=0, description="sigma in pixels of a blur that is taken off the product; 0: none")
    smooth: float = Field(0.0, ge=0, description="sigma in pixels of a blur of the product")
    standardise: bool = Field(False, description="subtract mean and divide by spread of healthy maps at each pixel")
    pool: Literal["mean", "top"] = Field(
        "mean", description="image score from the map: mean of all pixels, or of the highest 5 %"
    )

    @model_validator(mode="after")
    def _no_factor_twice(self) -> ScoringConfig:
        if len(set(self.factors)) < len(self.factors):
            raise ValueError("a factor stands twice")
        for name in ALONE:
            if name in self.factors and len(self.factors) > 1:
                raise ValueError(f"the factor '{name}' stands alone")
        return self

    @model_validator(mode="after")
    def _sign_is_dropped_at_last(self) -> ScoringConfig:
        if self.signed and not self.standardise:
            raise ValueError("a signed map has to be standardised")
        if self.shading and not self.signed:
            raise ValueError("shading is taken off signed residuals alone: another map would become negative")
        if self.shading and self.shading <= self.smooth:
            raise ValueError("shading has to be wider than smooth, or nothing is left")
        return self

    @property
    def signed(self) -> bool:
        """Whether maps before standardising may be negative."""
        return self.factors == ("signed_residual",)

    @property
    def is_perceptual(self) -> bool:
        """Whether maps depend on the perceptual network."""
        return any(factor.endswith("perceptual") for factor in self.factors)


SCORINGS: tuple[ScoringConfig, ...] = (
    ScoringConfig(name="paper", factors=("clahe_residual", "perceptual", "clahe_perceptual")),
    ScoringConfig(name="clahe_residual", factors=("clahe_residual",)),
    ScoringConfig(name="perceptual", factors=("perceptual",)),
    ScoringConfig(name="clahe_perceptual", factors=("clahe_perceptual",)),
    ScoringConfig(name="residual", factors=("residual",)),
    ScoringConfig(name="residual_top", factors=("residual",), smooth=3.0, pool="top"),
    ScoringConfig(name="standardised_residual", factors=("residual",), smooth=1.0, standardise=True),
    ScoringConfig(name="standardised_residual_top", factors=("residual",), smooth=3.0, standardise=True, pool="top"),
    ScoringConfig(
        name="signed_residual_top",
        factors=("signed_residual",),
        shading=12.0,
        smooth=3.0,
        standardise=True,
        pool="top",
    ),
    ScoringConfig(name="standardised_perceptual", factors=("perceptual",), standardise=True),
    ScoringConfig(
        name="standardised_paper",
        factors=("clahe_residual", "perceptual", "clahe_perceptual"),
        standardise=True,
    ),
)
"""The scorings of reconstructions: the paper's, each of its factors, the plain residual, and standardised ones."""

DISTANCE_SCORINGS: tuple[ScoringConfig, ...] = (
    ScoringConfig(name="distance", factors=("distance",)),
    ScoringConfig(name="distance_top", factors=("distance",), pool="top"),
    ScoringConfig(name="standardised_distance", factors=("distance",), smooth=1.0, standardise=True),
    ScoringConfig(name="standardised_distance_top", factors=("distance",), smooth=1.0, standardise=True, pool="top"),
)
"""The scorings of methods that measure a distance themselves."""

UNCALIBRATED: ScoringConfig = next(scoring for scoring in SCORINGS if scoring.name == "residual_top")
"""The scoring of a model without a calibration: it needs neither a site's statistics nor a perceptual network.

A model that measures a distance itself has that, and the mean of its highest values where it localises.
"""


def plain(scorings: Sequence[ScoringConfig]) -> ScoringConfig:
    """Of a method's scorings the one that needs nothing but the model."""
    if UNCALIBRATED in scorings:
        return UNCALIBRATED
    return [scoring for scoring in scorings if not scoring.standardise][-1]
