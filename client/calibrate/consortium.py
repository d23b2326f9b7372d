"""What a model's card says of a consortium's healthy scores, and which threshold decides at a site."""

from __future__ import annotations

from typing import cast

from ra_core.artifact import Card
from ra_core.calibration.image_threshold import ImageThreshold
from ra_core.calibration.measured import Measured
from ra_core.scoring import ScoringConfig
from ra_core.thresholds import Histogram
from ra_core.thresholds.drift import Drift, drift
from ra_core.thresholds.record import FederatedCalibration, Way

__all__ = ["drift_from", "picked", "reference_of"]


def reference_of(card: Card, scoring: ScoringConfig, rate: float) -> tuple[FederatedCalibration | None, str]:
    """What the card says of the consortium's scores, where it holds for this scoring and rate; else why it doesn't."""
    theirs = card.calibration
    if theirs is None:
        return None, "the model's card has no scores of a consortium: thresholds are this site's own"
    if theirs.scoring != scoring:
        return None, f"the consortium scored by {theirs.scoring.name}: its thresholds mean nothing here"
    if theirs.rate != rate:
        return None, f"the consortium asked for {theirs.rate:g}: its thresholds are not for {rate:g}"
    return theirs, ""


def picked(thresholds: dict[Way, ImageThreshold], way: str | None) -> ImageThreshold:
    """The one asked for; else the shrunken one where there is one, or the site's own."""
    if way is not None:
        return thresholds.get(cast(Way, way), _absent(thresholds["local"], cast(Way, way)))
    shrunken = thresholds.get("shrunken")
    return shrunken if shrunken and shrunken.value is not None else thresholds["local"]


def _absent(local: ImageThreshold, way: Way) -> ImageThreshold:
    note = f"no {way} threshold: the model's card has no scores of a consortium for it"
    return ImageThreshold(value=None, rate=local.rate, unit=local.unit, n=local.n, note=note, way=way)


def drift_from(reference: FederatedCalibration | None, everyone: Measured) -> Drift | None:
    """Of the site's healthy scores against those of all sites."""
    if reference is None or not reference.histogram.n:
        return None
    return drift(reference.histogram, Histogram.of(everyone.by_patient(reference.unit)))
