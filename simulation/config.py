"""Settings of an experiment: which sites, which models are trained, on what budget."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from ra_core.config import RuntimeConfig, StudyConfig
from ra_core.settings import Config

__all__ = ["ExperimentConfig", "SiteEntry"]


class SiteEntry(Config):
    """One site of an experiment."""

    config: Path = Field(description="the site's config, relative to this file")
    held_out: bool = Field(False, description="measured on, but not trained on by federated and pooled models")
    healthy_of: str = Field(
        "",
        description="site whose healthy images set scale and thresholds, where it has none itself; then it is held out",
    )

    @property
    def is_trained_on(self) -> bool:
        """Whether federated and pooled models are trained on it."""
        return not self.held_out and not self.healthy_of


class ExperimentConfig(Config):
    """An experiment: models trained in several ways on the same budget, measured at every site."""

    title: str = Field(description="stands on top of the report")
    sites: tuple[SiteEntry, ...] = Field(min_length=1, description="in the report's order")
    federated: bool = Field(True, description="train one model over all sites without moving an image")
    pooled: bool = Field(False, description="train one model on all images in one place: what federation gives up")
    local: tuple[str, ...] = Field((), description="names of sites that train a model on their own")
    runtime: RuntimeConfig = RuntimeConfig()
    study: StudyConfig = StudyConfig()

    @model_validator(mode="after")
    def _something_is_trained(self) -> ExperimentConfig:
        if not (self.federated or self.pooled or self.local):
            raise ValueError("no model is trained: set federated, pooled or local")
        return self

    @model_validator(mode="after")
    def _no_local_model_twice(self) -> ExperimentConfig:
        twice = sorted({name for name in self.local if self.local.count(name) > 1})
        if twice:
            raise ValueError(f"local: '{twice[0]}' stands there twice")
        return self

    @model_validator(mode="after")
    def _all_are_chosen_alike(self) -> ExperimentConfig:
        if self.federated and self.study.training.ema_decay:
            raise ValueError(
                "study.training.ema_decay: a federation keeps no moving average, so set 0 to compare models"
            )
        return self

    @model_validator(mode="after")
    def _the_method_can_be_federated(self) -> ExperimentConfig:
        if self.federated and self.study.why_local:
            raise ValueError(f"study.method: {self.study.why_local}; set federated to false")
        return self

    @model_validator(mode="after")
    def _budgets_are_equal(self) -> ExperimentConfig:
        federation, steps = self.study.federation, self.study.training.steps
        if self.federated and federation.rounds * federation.local_steps != steps:
            raise ValueError(
                f"{federation.rounds} rounds of {federation.local_steps} local steps (study.federation) are not the "
                f"{steps} steps of study.training.steps: all models get the same budget"
            )
        if self.federated and federation.patience:
            raise ValueError("study.federation.patience: all models get the same budget, so none may end early: set 0")
        return self

    @model_validator(mode="after")
    def _the_whole_model_is_shared(self) -> ExperimentConfig:
        federation = self.study.federation
        if self.federated and (set(self.study.parts) != set(self.study.method.parts) or federation.local_norms):
            raise ValueError(
                "an experiment measures one model at all sites, and study.federation keeps layers at each site: "
                "share all parts, with local_norms off"
            )
        return self
