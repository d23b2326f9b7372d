"""Every setting as a frozen pydantic model, loaded from YAML; unknown keys are refused by name.

Two files: a *site* config says where one hospital's images are and what its machine is; a *study* config says what is
trained and how, the same for every hospital. Both have a default for everything a beginner need not know.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ra_core.address import split_address
from ra_core.calibration_settings import CalibrationConfig
from ra_core.models.configs import MethodConfig, PerceptualConfig, RAConfig
from ra_core.policy import PolicyConfig
from ra_core.privacy.settings import PrivacyConfig
from ra_core.secure_aggregation import KeyringConfig, SecureAggregationConfig
from ra_core.settings import BesideFile, Config

__all__ = [
    "DIGEST",
    "SITE_NAME",
    "AugmentationConfig",
    "CalibrationConfig",
    "DataConfig",
    "EvaluationConfig",
    "FederationConfig",
    "FolderRules",
    "KeyringConfig",
    "LimitsConfig",
    "PerceptualConfig",
    "Plane",
    "PolicyConfig",
    "Precision",
    "PreprocessingConfig",
    "PrivacyConfig",
    "RuntimeConfig",
    "SecureAggregationConfig",
    "ServerConfig",
    "ServerOptimizerConfig",
    "SiteConfig",
    "SplitShares",
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


class RuntimeConfig(Config):
    """The machine. Resolved once at the start of a run and recorded; the bits of a model depend on it."""

    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu, cuda or cuda:N")
    threads: int = Field(2, ge=1, le=1024, description="CPU threads; another number gives other bits")


SITE_NAME = re.compile(r"\w[\w .-]{0,63}")
"""Names of sites: they stand in lists, files, records and error texts."""


class SplitShares(Config):
    """Which share of the healthy patients goes where, drawn by a fixed hash of the patient."""

    train: float = Field(0.7, ge=0, le=1, description="trained on")
    val: float = Field(0.1, ge=0, le=1, description="weights and scoring are chosen on")
    calibration: float = Field(0.1, ge=0, le=1, description="thresholds are set on")
    test: float = Field(0.1, ge=0, le=1, description="measured on")

    @model_validator(mode="after")
    def _sum_is_one(self) -> SplitShares:
        total = self.train + self.val + self.calibration + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the four shares add up to {total:g}, not to 1")
        return self


class FolderRules(Config):
    """Rules that say of each file in a folder what it is, in place of a manifest.

    Patterns are compared with a file's whole path, relative to the root: `*` stands for anything within a name, `**`
    for any folders. A file that no pattern of healthy or anomalous names is left aside.

    Abnormal images are tested on, and never trained on. Healthy ones go where a pattern says; where none does, their
    patient is drawn by `shares`, or follows images that have their place. A patient is in one split only.
    """

    ignored: tuple[str, ...] = Field((), description="patterns of files to leave aside (masks); they go first")
    healthy: tuple[str, ...] = Field(("**",), min_length=1, description="patterns of files that show healthy patients")
    anomalous: tuple[str, ...] = Field((), description="patterns of files that show abnormalities; before healthy")
    patient: str = Field(
        "dicom",
        description="what tells the patient: dicom (the header), file (each file is one), folder:N (the Nth folder of "
        "the path, from 1), or a regular expression on the path with a group (?P<patient>...)",
    )
    train: tuple[str, ...] = Field(
        (), description="patterns of files to train on; with them, healthy files that no split names are left aside"
    )
    val: tuple[str, ...] = Field((), description="patterns of files to choose weights and scoring on")
    calibration: tuple[str, ...] = Field((), description="patterns of files to set thresholds on")
    test: tuple[str, ...] = Field((), description="patterns of files to measure on")
    shares: SplitShares = SplitShares()

    @field_validator("patient")
    @classmethod
    def _patient_is_a_rule(cls, value: str) -> str:
        if value in ("dicom", "file") or re.fullmatch(r"folder:[1-9]\d?", value):
            return value
        try:
            groups = re.compile(value).groupindex
        except (re.error, RecursionError):
            groups = {}
        if "patient" not in groups:
            raise ValueError("this is none of dicom, file, folder:N, or a regular expression with (?P<patient>...)")
        return value


class DataConfig(Config):
    """Where one site's images are, and who is in which split: told by a manifest, or by rules for a folder."""

    site: str = Field(
        pattern=f"^{SITE_NAME.pattern}$", description="the site's id; only rows of the manifest with this site are used"
    )
    root: BesideFile | None = Field(None, description="data root, relative to this file; --data goes before it")
    manifest: Path = Field(Path("manifest.csv"), description="CSV of all images, relative to the data root")
    folder: FolderRules | None = Field(None, description="rules in place of a manifest")
    pictures: bool = Field(True, description="reports may show images of this site; false: numbers alone")


class LimitsConfig(Config):
    """What a site takes for fit."""

    max_lost: float = Field(0.02, ge=0, le=1, description="largest share of its images that may be unreadable or unfit")
    max_pixels: int = Field(1 << 26, ge=1, description="pictures with more pixels are refused from their header")
    max_voxels: int = Field(1 << 30, ge=1, description="volumes with more voxels are refused from their header")
    min_side: int = Field(32, ge=1, description="pictures with a shorter side, in pixels, are refused")
    burned_in: bool = Field(False, description="use DICOM images that say they carry burned-in text")
    hidden: bool = Field(False, description="look into hidden files and folders too")


DIGEST = re.compile("[0-9a-f]{64}")
"""SHA-256 as hex digits."""


class ServerConfig(Config):
    """The federation's server, and what it may have this site run."""

    address: str = Field(description="HOST:PORT")
    ca_certificate: BesideFile | None = Field(None, description="the consortium's CA (PEM), relative to this file")
    private_key: BesideFile | None = Field(None, description="this site's private key, relative to this file")
    allowed: tuple[str, ...] = Field(
        (), description="SHA-256 of app bundles that may run here; `ra-client allow` adds others"
    )

    @field_validator("address")
    @classmethod
    def _address_can_be_split(cls, value: str) -> str:
        split_address(value)
        return value

    @field_validator("allowed")
    @classmethod
    def _allowed_are_hashes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if not DIGEST.fullmatch(text):
                raise ValueError(f"'{text:.70}' is no SHA-256: 64 digits of 0-9 and a-f")
        return value


class SiteConfig(Config):
    """One hospital."""

    name: str = Field(description="the hospital's name, for people")
    anatomy: str = Field(description="for example brain, chest, hand")
    modality: str = Field(description="DICOM's code: CR, DX, CT, MR, ...")
    data: DataConfig
    limits: LimitsConfig = LimitsConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    policy: PolicyConfig = PolicyConfig()
    state: BesideFile | None = Field(None, description="folder for what is kept between rounds, relative to this file")
    server: ServerConfig | None = Field(None, description="address and certificates; without it the site stays alone")
    secure_aggregation: KeyringConfig | None = Field(
        None, description="keys of secure aggregation; without them the site takes part in no study that has it"
    )


class ServerOptimizerConfig(Config):
    """What the server does with the sites' mean update, round by round."""

    name: Literal["none", "momentum", "adam"] = Field(
        "none", description="none: adds the mean update; momentum: FedAvgM; adam: FedAdam"
    )
    learning_rate: float = Field(
        1.0, gt=0, description="factor on the step; adam moves a weight by about this much a round: take 0.01 or less"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="share of earlier rounds kept in the mean (adam: beta1)")
    beta2: float = Field(0.99, ge=0, lt=1, description="adam: share of earlier rounds kept in the mean square")
    tau: float = Field(1e-3, gt=0, description="adam: smallest divisor; the larger, the less it adapts to each weight")


PartName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,39}$")]
"""Of a method's part; a site's people read it in what their policy refuses."""


class FederationConfig(Config):
    """How hospitals train together: rounds x local_steps optimizer steps. Without effect on `ra-simulate train`."""

    rounds: int = Field(20, ge=1, description="times the model goes out to the sites and comes back")
    local_steps: int = Field(200, ge=1, description="optimizer steps a site takes each round")
    parts: tuple[PartName, ...] | None = Field(
        None,
        min_length=1,
        max_length=16,
        description="parts that are shared, others stay at each site; null: all are",
    )
    local_norms: bool = Field(False, description="keep the parameters of norm layers at each site (FedBN)")
    proximal_mu: float = Field(
        0.0, ge=0, description="FedProx: weight of the pull towards the global model; 0 is FedAvg"
    )
    quorum: float = Field(
        1.0, gt=0, le=1, description="share of the agreed sites that have to answer for a round to count"
    )
    join_seconds: float = Field(600.0, gt=0, description="longest wait for the agreed sites to join, at a run's start")
    deadline_seconds: float = Field(
        3600.0, gt=0, description="longest wait in a round for a quorum to be connected, and then for all answers"
    )
    patience: int = Field(
        0, ge=0, description="rounds without a better model after which training ends early; 0 is never"
    )
    keep_optimizer: bool = Field(
        False, description="sites keep their optimizers' state between rounds; it never leaves them"
    )
    max_update_norm: float | None = Field(
        1000.0,
        gt=0,
        description="an update with a larger L2 norm is rejected; null, or a method computed in one pass: none is",
    )
    clip_update_norm: float | None = Field(
        None, gt=0, description="an update with a larger L2 norm is shortened to it, its weight kept; null: none is"
    )
    aggregation: Literal["mean", "trimmed_mean"] = Field(
        "mean", description="mean weighted by images, or trimmed_mean of all sites alike (holds all updates in memory)"
    )
    trimmed_share: float = Field(
        0.1, ge=0, lt=0.5, description="trimmed_mean: share of the sites left out at each end, weight by weight"
    )
    secure_aggregation: SecureAggregationConfig | None = Field(
        None, description="the server learns sums alone; needs max_update_norm: null; null: it sees each site's update"
    )
    compress: bool = Field(
        False, description="pack models and updates without loss on their way: fewer bytes, the same bits, some seconds"
    )
    optimizer: ServerOptimizerConfig = ServerOptimizerConfig()

    @model_validator(mode="after")
    def _a_masked_update_is_not_looked_at(self) -> FederationConfig:
        if self.secure_aggregation and self.aggregation != "mean":
            raise ValueError(f"aggregation: {self.aggregation} looks at single updates, which secure_aggregation hides")
        if self.secure_aggregation and self.max_update_norm is not None:
            raise ValueError(
                "max_update_norm: secure_aggregation hides the norm of one site's update: set it to null, and "
                "clip_update_norm, which sites keep to by themselves"
            )
        return self


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
