"""Settings of a study: sites, methods, and which of them are trained in which ways."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError, model_validator

from ra_core.config import (
    SITE_NAME,
    EvaluationConfig,
    FederationConfig,
    PreprocessingConfig,
    RuntimeConfig,
    StudyConfig,
    TrainingConfig,
)
from ra_core.glossary import SHORTCUT
from ra_core.models.configs import MethodConfig, PCAConfig, PerceptualConfig
from ra_core.settings import Config, first_problem
from simulation.config import SiteEntry
from simulation.grid.arms import ARMS

__all__ = ["Block", "GridConfig", "MethodEntry"]

DECIDED = {"local_steps", *(name for kind in ARMS.values() for name in kind.federation or {})}
"""Keys of `federation` that cells set."""


class MethodEntry(Config):
    """A method of a study; what isn't said here is as in the study."""

    settings: MethodConfig = Field(description="the method's settings, its `name` among them")
    steps: int | None = Field(None, ge=1, description="optimizer steps; a method computed in one pass has one")
    rounds: int | None = Field(None, ge=1, description="that the steps are shared out over where sites train together")
    keep_optimizer: bool = Field(False, description="sites keep their optimizers' state between rounds")
    batch_size: int | None = Field(None, ge=1, description="images a step")

    @property
    def own_budget(self) -> str:
        """For its rows: what its cells may cost beside others'; empty where it is the same."""
        own = (f"{count:,} {what}" for count, what in ((self.steps, "steps"), (self.rounds, "rounds")) if count)
        return ", ".join(own)


class Block(Config):
    """Cells: every method of the block in every arm of it, with every seed."""

    methods: tuple[str, ...] = Field(("all",), min_length=1, description="names under `methods`, or all")
    arms: tuple[str, ...] = Field(("all",), min_length=1, description=f"of {', '.join(ARMS)}; or all")
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="of training; measuring has one seed for all")

    @model_validator(mode="after")
    def _arms_are_known(self) -> Block:
        unknown = sorted(set(self.arms) - set(ARMS) - {"all"})
        if unknown:
            raise ValueError(f"there is no arm '{unknown[0]}', only {', '.join(ARMS)}")
        return self


class SharedSettings(Config):
    """What all cells have in common; each is explained by `ra-simulate config study`."""

    preprocessing: PreprocessingConfig = PreprocessingConfig()
    training: TrainingConfig = TrainingConfig()
    federation: FederationConfig = FederationConfig()
    perceptual: PerceptualConfig = PerceptualConfig()
    evaluation: EvaluationConfig = EvaluationConfig()


class GridConfig(Config):
    """A study: methods, ways to train and seeds, measured at every site."""

    title: str = Field(description="stands on top of the report")
    sites: tuple[SiteEntry, ...] = Field(min_length=1, description="in the report's order")
    methods: dict[str, MethodEntry] = Field(
        min_length=1,
        description="by the name that tables have for them: settings (keys of `method` in `ra-simulate config study`), "
        "and steps or batch_size where they differ from the study's",
    )
    blocks: tuple[Block, ...] = Field(
        min_length=1,
        description="which methods are trained in which ways with which seeds; methods and arms may be all, or arms of "
        f"{', '.join(ARMS)}",
    )
    adapt_steps: int = Field(
        200,
        ge=0,
        description="at a site that took no part, steps on its own healthy images for parts that are not shared; "
        "0: such models are not estimable there",
    )
    runtime: RuntimeConfig = RuntimeConfig()
    study: SharedSettings = SharedSettings()

    @model_validator(mode="before")
    @classmethod
    def _all_are_chosen_by_the_same_patients(cls, found: Any) -> Any:
        study = found.get("study") if isinstance(found, dict) else None
        if isinstance(study, dict) and "calibration" in study:
            raise ValueError(
                "study.calibration: leave it out: a federation would keep validation patients back, and models of "
                "other arms be chosen by all of them; `ra-simulate experiment` has thresholds over sites"
            )
        return found

    @model_validator(mode="after")
    def _methods_are_known(self) -> GridConfig:
        for block in self.blocks:
            unknown = sorted(set(block.methods) - set(self.methods) - {"all"})
            if unknown:
                raise ValueError(f"blocks: there is no method '{unknown[0]}' under methods")
        taken = ("all", SHORTCUT)
        bad = [name for name in self.methods if not SITE_NAME.fullmatch(name) or name in taken or "." in name]
        if bad:
            raise ValueError(f"methods: '{bad[0]:.40}' is no name: letters, digits, spaces, dashes and underscores")
        return self

    @model_validator(mode="after")
    def _all_are_chosen_alike(self) -> GridConfig:
        if self.study.training.ema_decay or self.study.federation.patience:
            raise ValueError(
                "study.training.ema_decay and study.federation.patience: a federation keeps no moving average, and all "
                "models get the same budget: set both to 0"
            )
        return self

    @model_validator(mode="after")
    def _arms_decide_how_sites_train_together(self) -> GridConfig:
        own, usual = self.study.federation, FederationConfig()
        changed = {key for key in DECIDED if getattr(own, key) != getattr(usual, key)}
        if changed:
            raise ValueError(
                f"study.federation.{min(changed)}: leave it out: arms differ in how sites train together, and steps "
                "are shared out over the rounds"
            )
        return self

    @model_validator(mode="after")
    def _studies_are_valid(self) -> GridConfig:
        for name in self.methods:
            for arm in ("pooled", "fedavg"):
                try:
                    self.study_of(name, arm, 0)
                except ValidationError as error:
                    raise ValueError(f"methods: {name}: {first_problem(error, 'settings')}") from None
        return self

    def study_of_shortcuts(self) -> StudyConfig:
        """What the shortcuts are measured with: of the study, all that is not training."""
        return StudyConfig(
            method=PCAConfig(),  # not used: one that asks nothing of the images' size
            preprocessing=self.study.preprocessing,
            training=TrainingConfig(steps=1),
            federation=FederationConfig(rounds=1, local_steps=1),
            evaluation=self.study.evaluation,
        )

    def study_of(self, method: str, arm: str, seed: int) -> StudyConfig:
        """What a cell is trained with.

        Raises:
            ValidationError: the method doesn't go with the study.
        """
        entry, federation = self.methods[method], dict(ARMS[arm].federation or {})
        fitted = entry.settings.fitted
        steps = 1 if fitted else entry.steps or self.study.training.steps
        rounds = 1 if fitted else entry.rounds or self.study.federation.rounds
        if steps % rounds:
            raise ValueError(f"methods: {method}: {steps} steps can't be shared out over {rounds} rounds")
        federation |= {"rounds": rounds, "local_steps": steps // rounds}
        if entry.keep_optimizer:
            federation["keep_optimizer"] = True
        training: dict[str, Any] = {"steps": steps}
        if entry.batch_size:
            training["batch_size"] = entry.batch_size
        dumped = self.study.model_dump()
        return StudyConfig.model_validate(
            dumped
            | {
                "seed": seed,
                "method": entry.settings,
                "training": dumped["training"] | training,
                "federation": dumped["federation"] | federation,
            }
        )
