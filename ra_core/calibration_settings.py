"""Settings of federated calibration; apart from its arithmetic, so that who only reads settings needs neither."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from ra_core.errors import ConfigError
from ra_core.scorings import ScoringConfig, plain
from ra_core.settings import Config

__all__ = ["CalibrationConfig", "Unit"]

Unit = Literal["slice", "study"]
"""What an alarm is about: a picture by itself, or all pictures of a patient together, whose highest score counts."""


class CalibrationConfig(Config):
    """Thresholds and accuracy of the chosen model over all sites, from score histograms, at evaluation.image_fpr."""

    scoring: str | None = Field(
        None,
        description="name of the scoring; null: residual_top, or of methods that measure a distance distance_top",
    )
    unit: Unit = Field(
        "study", description="what an alarm is about: study (all images of a patient, the highest score) or slice"
    )

    def scoring_of(self, scorings: Sequence[ScoringConfig]) -> ScoringConfig:
        """The scoring that is calibrated.

        Args:
            scorings: of the method.

        Raises:
            ConfigError: the method has none of this name.
        """
        if self.scoring is None:
            return plain(scorings)
        for scoring in scorings:
            if scoring.name == self.scoring:
                return scoring
        raise ConfigError(
            f"calibration.scoring: the method has no '{self.scoring:.40}'",
            f"name one of {', '.join(scoring.name for scoring in scorings)}",
        )
