"""What a run's calibration has found, as the card of its model has it: thresholds, what they achieve, and accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ra_core.thresholds.figures import Binned
from ra_core.thresholds.record import Achieved, FederatedCalibration, SiteThresholds
from ra_core.thresholds.told import more_than_asked, told_of_all
from ra_core.words import counted, percent
from server.story.fields import shown

__all__ = ["CalibrationView", "ThresholdLine", "calibration_view"]

Value = tuple[str, str]
"""A number, and what belongs below it; both empty where there is none."""

NOTHING: Value = "", ""


@dataclass(frozen=True)
class ThresholdLine:
    """A site: how many patients set its threshold, where it is, how many others are above it, and what is lacking.

    Attributes:
        name: of the site.
        patients: healthy ones, who set the threshold; "" where the site told none.
        threshold: the shrunken one, and the site's own.
        above: others above the shrunken one, and the rate with its 95 % interval.
        auroc: the site's, with its 95 % interval.
        notes: why something isn't there, or what a reader has to know.
    """

    name: str
    patients: str
    threshold: Value
    above: Value
    auroc: Value
    notes: tuple[str, ...]


@dataclass(frozen=True)
class CalibrationView:
    """How it was measured, a line for each site, those that told nothing too, and figures over all sites."""

    measured: tuple[str, ...]
    sites: tuple[ThresholdLine, ...]
    figures: tuple[str, ...]


def calibration_view(found: FederatedCalibration) -> CalibrationView:
    """What the card's record comes to."""
    sites = {site.site: site for site in found.sites}
    aurocs = {figure.where: figure.number for figure in found.figures if figure.metric == "auroc"}
    asked, *figures = told_of_all(found)
    return CalibrationView(
        (asked, *_pooled(found)),
        tuple(
            _line(sites[name], aurocs.get(name), found) if name in sites else _absent(name, found)
            for name in sorted({*sites, *found.absent})
        ),
        tuple(figures),
    )


def _pooled(found: FederatedCalibration) -> Iterator[str]:
    if found.reference and found.reference.pooled is not None:
        whose = f"{counted(found.reference.n, 'patient')} of {counted(found.reference.sites, 'site')}"
        yield f"one threshold for all sites would be {found.reference.pooled:.4g}, from {whose}"


def _absent(name: str, found: FederatedCalibration) -> ThresholdLine:
    return ThresholdLine(shown(name), "", NOTHING, NOTHING, NOTHING, (shown(found.absent[name]),))


def _line(site: SiteThresholds, auroc: Binned | None, found: FederatedCalibration) -> ThresholdLine:
    own = "" if site.local.value is None else f"its own: {site.local.value:.4g}"
    return ThresholdLine(
        name=shown(site.site),
        patients=f"{site.local.n:,}",
        threshold=("none" if site.shrunken is None else f"{site.shrunken:.4g}", own),
        above=_above(site.achieved.get("shrunken")),
        auroc=_number(auroc),
        notes=tuple(shown(note) for note in _notes(site, auroc, found)),
    )


def _above(seen: Achieved | None) -> Value:
    if seen is None:
        return NOTHING
    return f"{seen.above} of {seen.n}", f"{percent(seen.above / seen.n)} ({percent(seen.low)} to {percent(seen.high)})"


def _number(found: Binned | None) -> Value:
    if found is None or found.value is None:
        return NOTHING
    interval = "" if found.low is None or found.high is None else f"{found.low:.2f} to {found.high:.2f}"
    return f"{found.value:.2f}", interval


def _notes(site: SiteThresholds, auroc: Binned | None, found: FederatedCalibration) -> Iterator[str]:
    absent = found.absent.get(site.site)
    if broken := more_than_asked(site.achieved.get("shrunken"), found.rate):
        yield broken
    if site.local.note:
        yield f"its own threshold: {site.local.note}"
    if absent:
        yield absent
    if auroc and auroc.note:
        yield f"AUROC: {auroc.note}"
