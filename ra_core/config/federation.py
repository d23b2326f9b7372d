"""How hospitals train together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ra_core.secure_aggregation import SecureAggregationConfig
from ra_core.settings import Config

__all__ = ["FederationConfig", "ServerOptimizerConfig"]


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
