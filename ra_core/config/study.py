"""What is trained and how, the same at every hospital."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ra_core.calibration_settings import CalibrationConfig
from ra_core.config.federation import FederationConfig
from ra_core.models.configs import MethodConfig, PerceptualConfig, RAConfig
from ra_core.privacy.settings import PrivacyConfig
from ra_core.settings import Config

__all__ = [
    "AugmentationConfig",
    "EvaluationConfig",
    "Plane",
    "Precision",
    "PreprocessingConfig",
    "StudyConfig",
    "TrainingConfig",
    "WindowName",
]

Precision = Literal["auto", "fp32", "bf16"]
"""Arithmetic of training."""

Plane = Literal["axial", "coronal", "sagittal"]

WindowName = Literal["file", "none", "brain", "subdural", "stroke", "mediastinum", "lung", "bone"]


class PreprocessingConfig(Config):
    """How pixels become the float32 (1, size, size) array in [0, 1] that every method sees."""

    size: int = Field(128, ge=32, le=1024, multiple_of=32, description="side of the square image, in pixels")
    low_percentile: float = Field(1.0, ge=0, lt=50, description="foreground percentile that becomes 0")
    high_percentile: float = Field(99.0, gt=50, le=100, description="foreground percentile that becomes 1")
    foreground_above: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="foreground = pixels above this share of the range from the minimum to the 99.5th percentile",
    )
    plane: Plane = Field("axial", description="plane in which volumes are sliced: axial, coronal or sagittal")
    slices: tuple[float, float] = Field(
        (0.0, 1.0),
        description="share of a volume's slices that is used, from feet (back, right) to head (front, left)",
    )
    volume: int = Field(0, ge=0, description="which volume of a 4-D file, from 0")
    window: WindowName = Field(
        "file",
        description="file: a DICOM file's own; none; or in HU: brain, subdural, stroke, mediastinum, lung, bone",
    )

    @model_validator(mode="after")
    def _slices_are_a_range(self) -> PreprocessingConfig:
        if not 0 <= self.slices[0] <= self.slices[1] <= 1:
            raise ValueError(f"slices {list(self.slices)} are no range within 0 and 1")
        return self


class AugmentationConfig(Config):
    """Random changes of training images, drawn anew at every step."""

    rotate_degrees: float = Field(5.0, ge=0, le=180, description="largest rotation either way")
    shift: float = Field(0.05, ge=0, lt=0.5, description="largest shift either way, as a share of the side")
    scale: float = Field(0.05, ge=0, lt=0.5, description="largest change of size either way, as a share")
    flip: bool = Field(False, description="mirror left and right half of the time (not where the heart shows)")


class TrainingConfig(Config):
    """The training loop. Steps count along one model's path."""

    steps: int = Field(4000, ge=1, description="optimizer steps in all, warm-up included")
    batch_size: int = Field(8, ge=1, description="images a step")
    validate_every: int = Field(500, ge=1, description="steps between looks at the healthy validation images")
    checkpoint_every: int = Field(100, ge=1, description="steps between checkpoints")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="moving average of the weights; 0 switches it off")
    precision: Precision = Field("auto", description="fp32, bf16, or auto: bf16 where a site's processor is fast at it")
    augmentation: AugmentationConfig = AugmentationConfig()


class EvaluationConfig(Config):
    """How a trained method is scored and measured."""

    batch_size: int = Field(16, ge=1, description="images scored at a time; no effect on the scores, up to rounding")
    bootstrap: int = Field(1000, ge=100, description="patient-level bootstrap samples behind each interval")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="coverage of the intervals")
    pixel_fpr: float = Field(
        0.05, gt=0, lt=1, description="share of healthy validation pixels above the map threshold, for Dice"
    )
    image_fpr: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="share of healthy validation images above the image threshold, for detection rates",
    )
    reference_images: int = Field(
        256, ge=2, description="healthy training images behind the mean and spread of standardised maps"
    )
    gallery: int = Field(6, ge=1, le=50, description="healthy and sick images shown in the gallery, each")


class StudyConfig(Config):
    """What is trained and how: the same at every hospital."""

    seed: int = Field(0, ge=0, description="of initial weights, batches, augmentation, noise and bootstrap")
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    method: MethodConfig = RAConfig()
    training: TrainingConfig = TrainingConfig()
    federation: FederationConfig = FederationConfig()
    dp: PrivacyConfig | None = Field(None, description="differential privacy of patients, in a federation; null: none")
    perceptual: PerceptualConfig = PerceptualConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    calibration: CalibrationConfig | None = Field(
        None, description="thresholds and accuracy over all sites, in a federation; null: none"
    )

    @model_validator(mode="after")
    def _steps_go_beyond_the_warmup(self) -> StudyConfig:
        if self.training.steps <= self.method.unselectable_steps:
            raise ValueError(
                f"training.steps {self.training.steps} end within the warm-up of {self.method.unselectable_steps} "
                "steps (method.warmup_steps), from which no weights are kept"
            )
        return self

    @model_validator(mode="after")
    def _size_suits_the_method(self) -> StudyConfig:
        step = self.method.side_multiple
        if self.preprocessing.size % step:
            raise ValueError(
                f"preprocessing.size {self.preprocessing.size} is no multiple of {step}, as {self.method.name} with "
                "these settings needs it (each width halves the image, patches tile it)"
            )
        return self

    @model_validator(mode="after")
    def _a_fitted_method_has_one_step(self) -> StudyConfig:
        counts = (self.training.steps, self.federation.rounds, self.federation.local_steps)
        if self.method.fitted and counts != (1, 1, 1):
            raise ValueError(
                f"{self.method.name} is computed in one pass over the training images: training.steps, "
                "federation.rounds and federation.local_steps have to be 1"
            )
        return self

    @model_validator(mode="after")
    def _moments_are_averaged_as_they_are(self) -> StudyConfig:
        federation = self.federation
        changed = {
            "optimizer": federation.optimizer.name != "none" or federation.optimizer.learning_rate != 1,
            "aggregation": federation.aggregation != "mean",
            "clip_update_norm": federation.clip_update_norm is not None,
        }
        if self.method.fitted and any(changed.values()):
            key = next(name for name, is_changed in changed.items() if is_changed)
            raise ValueError(
                f"federation.{key}: {self.method.name} is computed from plain means over all images: leave the default"
            )
        return self

    @model_validator(mode="after")
    def _moments_are_not_masked(self) -> StudyConfig:
        if self.method.fitted and self.federation.secure_aggregation:
            raise ValueError(
                f"federation.secure_aggregation: what {self.method.name} asks of a site is a function of its images "
                "alone, the same in every run, so that a second sum over other sites would tell it: leave it out"
            )
        return self

    @model_validator(mode="after")
    def _a_masked_metric_is_given_by_all(self) -> StudyConfig:
        agreed = self.federation.secure_aggregation
        more = sorted(set(agreed.metrics) - {"validation_error"}) if self.dp and agreed else []
        if more:
            raise ValueError(
                f"federation.secure_aggregation.metrics: {more[0]}: with dp a site whose draws are all empty has no "
                "such term, so that the sum may be one site's: validation_error alone is always given by all"
            )
        return self

    @model_validator(mode="after")
    def _privacy_suits_the_method(self) -> StudyConfig:
        if self.dp and self.method.why_not_private:
            raise ValueError(f"dp: {self.method.name} has none: {self.method.why_not_private}")
        return self

    @model_validator(mode="after")
    def _histograms_are_of_single_sites(self) -> StudyConfig:
        if self.calibration and self.federation.secure_aggregation:
            raise ValueError(
                "calibration: its score histograms are of single sites, which federation.secure_aggregation hides: "
                "leave one of them out"
            )
        return self

    @property
    def why_local(self) -> str:
        """Why no federation can train this; empty where one can."""
        reason = self.method.local_only
        return f"no federation can train {self.method.name}: {reason}" if reason else ""

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts of the method that sites share."""
        return self.method.parts if self.federation.parts is None else self.federation.parts
