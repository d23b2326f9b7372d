"""A hospital's own rules about what may leave it, as it sets them in its site config."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ra_core.privacy.settings import Delta, Noise, Outside
from ra_core.settings import Config

__all__ = ["PolicyConfig", "UpdateType"]

UpdateType = Literal["exact", "float16", "bfloat16"]
"""What an update is rounded to before it leaves: nothing but the protocol's grid, or a type with fewer digits."""

_Names = tuple[Annotated[str, Field(min_length=1)], ...]


class PolicyConfig(Config):
    """What may leave this site. No server and no study can loosen it; the stricter of study and site holds."""

    parts: _Names | None = Field(
        None, min_length=1, description="parts of a model whose updates may leave; null: those that a study shares"
    )
    tensors: _Names | None = Field(
        None,
        min_length=1,
        description="beginnings of names of tensors whose updates may leave, as encoder.blocks.; null: all of parts",
    )
    update_type: UpdateType = Field(
        "exact", description="what updates are rounded to: exact (multiples of 2^-24), float16 or bfloat16"
    )
    clip_update_norm: float | None = Field(
        None,
        gt=0,
        description="an update with a larger L2 norm is shortened to it before it leaves; null: as a study",
    )
    metrics: Literal["all", "none"] | _Names = Field(
        "all", description="means over the site's images that may leave with an update: all, none, or a list of names"
    )
    min_patients: int = Field(1, ge=1, description="patients in training, below which nothing leaves, no count either")
    min_count: int = Field(
        1, ge=1, description="smallest count of images, patients or files that may leave, and behind a mean that may"
    )
    min_images_drawn: int = Field(
        1,
        ge=1,
        description="steps of a round x images of a step, below which its update stays: that of few shows them",
    )
    rounds_per_day: int | None = Field(
        None, ge=1, description="updates that may leave within 24 hours, of all runs together; null: any number"
    )
    rounds_total: int | None = Field(
        None, ge=1, description="updates that may leave as long as the ledger goes back; null: any number"
    )
    packages: tuple[Annotated[str, Field(pattern="^[0-9a-f]{64}$")], ...] | None = Field(
        None, description="package hashes of the software that may send anything; null: the installed one, whichever"
    )
    dp_required: bool = Field(False, description="join only studies with differential privacy")
    dp_epsilon: float | None = Field(
        None,
        gt=0,
        description="most that all updates of all runs may spend; null: any, and a study without dp",
    )
    dp_delta: Delta = Field(1e-5, description="delta of dp_epsilon, and of a study that asks for a larger one")
    dp_noise_multiplier: Noise | None = Field(
        None, description="least noise multiplier; a study with less gets this one here; null: a study's"
    )
    dp_tells: tuple[Outside, ...] = Field(
        (),
        description="what may leave with differential privacy though no epsilon covers it: metrics, counts, histograms",
    )
    histograms: Literal["none", "healthy", "all"] = Field(
        "healthy",
        description="histograms of scores that may leave: none, of healthy calibration patients, or all: of test "
        "patients by class too",
    )
    min_cell: int = Field(
        1,
        ge=1,
        description="smallest count of a cell of a histogram that may leave, and of patients above a threshold; "
        "min_count holds for both, too",
    )
    secure_aggregation_required: bool = Field(False, description="join only studies with secure aggregation")
    secure_aggregation_least: int | None = Field(
        None,
        ge=3,
        description="fewest sites in a sum that has this one's figures; null: as a study's threshold, or without masks",
    )

    @model_validator(mode="after")
    def _what_is_required_is_bounded(self) -> Self:
        if self.dp_required and self.dp_epsilon is None:
            raise ValueError("dp_required without dp_epsilon: a study could have as little noise as it likes")
        return self

    def lets_out(self, metric: str) -> bool:
        """Whether a metric of this name may leave."""
        return self.metrics == "all" or metric in self.metrics
