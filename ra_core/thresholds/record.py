"""What a federation has found out about thresholds and accuracy, as it stands on a model's card: counts, no score."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, model_validator

from ra_core.models.configs.perceptual import Net
from ra_core.scorings import ScoringConfig
from ra_core.settings import Config
from ra_core.thresholds.conformal import Promise
from ra_core.thresholds.drift import Drift
from ra_core.thresholds.figures import Binned, share_interval
from ra_core.thresholds.histogram import EDGES_NAME, Histogram
from ra_core.thresholds.shrinkage import Reference
from ra_core.thresholds.units import Unit

__all__ = [
    "ACROSS_SITES",
    "WAYS",
    "WITHIN_SITES",
    "Achieved",
    "FederatedCalibration",
    "Figure",
    "Metric",
    "SiteThresholds",
    "Way",
]

Way = Literal["local", "pooled", "shrunken"]
"""How a threshold is set: from a site's own scores, from all sites' as one, or between the two."""

WAYS: tuple[Way, ...] = get_args(Way)


Metric = Literal["auroc", "auprc", "detection_rate", "false_alarm_rate"]

WITHIN_SITES, ACROSS_SITES = "within sites", "across sites"


class Achieved(Config):
    """How often healthy patients who set no threshold were above one.

    Attributes:
        threshold: that was tried.
        above: patients whose score was greater.
        n: patients.
        low, high: 95 % interval of the rate (Clopper and Pearson 1934).
    """

    threshold: float = Field(ge=0)
    above: int = Field(ge=0)
    n: int = Field(ge=1)
    low: float
    high: float

    @classmethod
    def of(cls, threshold: float, above: int, n: int) -> Achieved:
        """A rate that was seen among n patients, at least one."""
        low, high = share_interval(above, n)
        return cls(threshold=threshold, above=above, n=n, low=low, high=high)


class SiteThresholds(Config):
    """Of one site.

    Attributes:
        site: its name.
        local: from the first half of its calibration patients alone, in histogram cells: at most a cell too high. A
            cell that the site joined (`policy.min_cell`) is wide; where the threshold ends the one that the highest
            score is in, an outlier drags it, and its note says so.
        shrunken: between that and the consortium's; None where it can't be told. No finite-sample guarantee.
        achieved: on the second half, by way; empty where the site didn't tell.
        drift: how far its scores are from those of all other sites together; None where there are no others.
    """

    site: str
    local: Promise
    shrunken: float | None
    achieved: dict[Way, Achieved] = Field(default_factory=dict)
    drift: Drift | None = None


class Figure(Config):
    """A federated number.

    Attributes:
        metric: auroc, auprc and detection_rate of test patients, and false_alarm_rate of healthy calibration patients
            who set no threshold; both rates at the shrunken threshold of each site.
        where: a site, `WITHIN_SITES` (mean over sites) or `ACROSS_SITES` (all patients as if of one site).
        number: with its bound and interval.
    """

    metric: Metric
    where: str
    number: Binned


class FederatedCalibration(Config):
    """Thresholds of a federation.

    Attributes:
        scoring: of all scores here.
        unit: an alarm is about.
        rate: of false alarms asked.
        reference_images: training images behind the mean and spread of standardised maps; None where none are made.
        perceptual_net, network: backbone of the perceptual network behind the scores, and its `Perceptual.digest`;
            None and empty where the scoring needs none. The digest is empty, too, where no site told its scores.
        edges: name of the published edges.
        reference: what all sites' scores say together; None where no site has 4 of them.
        healthy: (first cell, last cell, count) of the first halves of all sites, added up.
        sites: one each, sorted by name.
        figures: federated metrics, where sites let out what they need.
        absent: why sites, or all or some of their achieved rates, are missing here, by name.
    """

    scoring: ScoringConfig
    unit: Unit
    rate: float = Field(gt=0, lt=1)
    reference_images: int | None = Field(None, ge=2)
    perceptual_net: Net | None = None
    network: str = Field("", pattern="^([0-9a-f]{64})?$")
    edges: str = EDGES_NAME
    reference: Reference | None
    healthy: tuple[tuple[int, int, int], ...]
    sites: tuple[SiteThresholds, ...]
    figures: tuple[Figure, ...] = ()
    absent: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _cells_are_of_our_edges(self) -> FederatedCalibration:
        if self.edges != EDGES_NAME:
            raise ValueError(f"histogram edges '{self.edges:.20}' are not ours ({EDGES_NAME})")
        Histogram(self.healthy)
        return self

    @model_validator(mode="after")
    def _scores_can_be_made_again(self) -> FederatedCalibration:
        if self.scoring.standardise != (self.reference_images is not None):
            raise ValueError("reference_images belongs to a standardised scoring, and to no other")
        if self.scoring.is_perceptual != (self.perceptual_net is not None) or (
            self.network and not self.perceptual_net
        ):
            raise ValueError("perceptual_net and network belong to a perceptual scoring, and to no other")
        return self

    @property
    def histogram(self) -> Histogram:
        """Of all sites' healthy scores."""
        return Histogram(self.healthy)
