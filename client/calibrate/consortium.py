"""What a model's card says of a consortium's healthy scores, and which threshold decides at a site."""

from __future__ import annotations

from typing import cast

from client.calibrate.outcome import WHAT
from client.calibrate.scoring import Chosen
from ra_core.artifact import Card
from ra_core.calibration.image_threshold import ImageThreshold
from ra_core.calibration.measured import Measured
from ra_core.calibration.watching import UNITS
from ra_core.thresholds import Histogram, Unit
from ra_core.thresholds.drift import Drift, drift
from ra_core.thresholds.record import FederatedCalibration, Way
from ra_core.thresholds.shrinkage import Reference

__all__ = ["drift_from", "picked", "references", "scored_alike"]


def scored_alike(card: Card, chosen: Chosen) -> tuple[FederatedCalibration | None, str]:
    """What the card says of a consortium's scores, where these are made as they are here; else why there is nothing."""
    theirs = card.calibration
    if theirs is None:
        return None, "the model's card has no scores of a consortium: thresholds are this site's own"
    if theirs.scoring != chosen.scoring:
        return None, f"the consortium scored by {theirs.scoring.name}: its thresholds mean nothing here"
    if theirs.network != chosen.network:
        return None, "the consortium scored through another perceptual network: its thresholds mean nothing here"
    return theirs, ""


def references(theirs: FederatedCalibration, rate: float, single: bool) -> tuple[dict[Unit, Reference], str]:
    """What the consortium's scores say of thresholds of each unit; and why not of all units, empty where of all.

    Args:
        theirs: scores that are made as they are here.
        rate: of false alarms asked.
        single: whether each patient here has one picture, so that a picture by itself is a study.
    """
    if theirs.reference is None:
        return {}, "too few scores of the consortium's sites are on the model's card: thresholds are this site's own"
    if theirs.rate != rate:
        return {}, f"the consortium asked for {theirs.rate:g}: its thresholds are not for {rate:g}"
    if single:
        return dict.fromkeys(UNITS, theirs.reference), ""
    (other,) = (unit for unit in UNITS if unit != theirs.unit)
    why = f"the consortium's thresholds are of {WHAT[theirs.unit]}: {WHAT[other]} have this site's own"
    return {theirs.unit: theirs.reference}, why


def picked(thresholds: dict[Way, ImageThreshold], way: str | None) -> ImageThreshold:
    """The one asked for; else the shrunken one where there is one, or the site's own."""
    if way is not None:
        return thresholds.get(cast(Way, way), _absent(thresholds["local"], cast(Way, way)))
    shrunken = thresholds.get("shrunken")
    return shrunken if shrunken and shrunken.value is not None else thresholds["local"]


def _absent(local: ImageThreshold, way: Way) -> ImageThreshold:
    note = f"no {way} threshold: no scores of a consortium on the model's card are for it"
    return ImageThreshold(value=None, rate=local.rate, unit=local.unit, n=local.n, note=note, way=way)


def drift_from(theirs: FederatedCalibration | None, site: str, everyone: Measured) -> Drift | None:
    """Of the site's healthy scores against those of all other sites.

    A member's own are among the consortium's, so of a member that is what the run has found.

    Args:
        theirs: scores that are made as they are here; None where there are none.
        site: whose patients are compared.
        everyone: all of them.
    """
    if theirs is None:
        return None
    for member in theirs.sites:
        if member.site == site:
            return member.drift
    return drift(theirs.histogram, Histogram.of(everyone.by_patient(theirs.unit))) if theirs.histogram.n else None
