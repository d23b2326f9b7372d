"""A call of `ra-client drift`: the month's histograms against those of the calibration, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from client.drift.table import as_table
from client.models import state_folder
from client.score.history import MONTH, History, Month
from client.site import refuse_others_calibration
from ra_core.artifact import load_artifact
from ra_core.calibration import Calibration, load_calibration
from ra_core.calibration.traits import GROUPS, SCORE
from ra_core.calibration.watching import UNITS, Compared, compare, visible
from ra_core.config import SiteConfig
from ra_core.errors import ConfigError, DriftError
from ra_core.model import identity_of
from ra_core.settings import load_config
from ra_core.thresholds import Unit

__all__ = ["run_drift"]

TODO = {
    "intensity": "look at the scanner: dose, sequence, window or export have changed",
    "orientation": "look at the export: pictures are turned, flipped or inverted, or of another view",
    "size": "look at the protocol: matrix or field of view have changed",
    "scores": "look at the pictures with the highest scores: either more of them are findings, or the model reads them "
    "otherwise than before",
}
"""By check."""

SCORES = GROUPS[SCORE]

KINDS: dict[Unit, str] = {"slice": "pictures by themselves", "study": "volumes"}


def run_drift(site: Path, model: Path, calibration: Path | None, month: str | None, strict: bool) -> Iterator[str]:
    """What the command does; its options are explained there. The values are what it says.

    Raises:
        ConfigError: the site has no state folder, the calibration is another site's, or there is nothing of that month.
        ArtifactError: model or calibration are missing or damaged.
        ResumeError: the month's file is damaged.
        DriftError: something has moved, and `strict` asks for it; all has been said before.
    """
    card = load_artifact(model).card
    kept = load_calibration(calibration or model, card)
    refuse_others_calibration(kept.site, load_config(site, SiteConfig))
    history = History(state_folder(site), identity_of(card, kept, kept.scoring))
    found = history.month(_which(history, month))
    compared = compare(kept.usual, found.tallies)
    made = f"model {card.model_hash[:16]}, calibrated at {kept.site}"
    yield f"{found.month}: {len(found.studies)} studies scored with {made}"
    yield from _above(kept, found)
    if compared:
        yield as_table(compared, kept.usual, found.tallies)
    yield from _verdict(compared)
    moved = _moved(compared)
    if strict and moved:
        raise DriftError(f"{found.month} does not fit the calibration: {', '.join(moved)} moved", TODO[moved[0]])


def _which(history: History, month: str | None) -> str:
    if month is not None and not re.fullmatch(MONTH, month):
        raise ConfigError(f"'{month:.20}' is no month", "write it as 2026-01")
    months = history.months
    if month in months:
        return month
    if month is None and months:
        return months[-1]
    there = f"there are {', '.join(months)}" if months else "`ra-client score --site SITE.yaml` keeps them"
    what = f"of {month} " if month else ""
    raise ConfigError(f"no scores {what}with this model and calibration are kept", there)


def _above(kept: Calibration, month: Month) -> Iterator[str]:
    """How many were above the threshold, as near as the cells tell."""
    for unit in UNITS:
        scores, threshold = month.tallies.of(unit).get(SCORE), kept.threshold(unit == "study")
        if scores is None or threshold.value is None:
            continue
        fewest, most = scores.above(threshold.value)
        count = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        yield (
            f"{KINDS[unit]}: {count} of {scores.n} above the threshold, {threshold.told(kept.site)}; "
            "more than that may be findings, or a change"
        )


def _moved(compared: Sequence[Compared]) -> list[str]:
    """Checks that have, each once; what tells of the pictures themselves before the scores."""
    found = {one.check for one in compared if one.moved}
    return [check for check in TODO if check in found]


def _verdict(compared: Sequence[Compared]) -> Iterator[str]:
    if not compared:
        yield "Nothing can be compared: the calibration and the month have no number in common."
        return
    for seen in visible(compared):
        yield (
            f"{'Careful, few: ' if seen.few else ''}{KINDS[seen.unit]}: with {seen.n_reference} at the calibration and "
            f"{seen.n} in the month, only a KS above {seen.ks:.2f} would show."
        )
    moved = _moved(compared)
    if not moved:
        yield "No change was found between the month's pictures and the calibration's."
        return
    if moved == [SCORES]:
        yield "The month's pictures look as they did at the calibration, but their scores are others."
    else:
        yield f"The month's pictures DO NOT FIT the calibration any more: {', '.join(moved)} moved."
    for check in moved:
        names = ", ".join(dict.fromkeys(_way(one) for one in compared if one.moved and one.check == check))
        yield f"  {check} ({names}): {TODO[check]}"
    yield "  If the change is meant to stay: calibrate again on healthy images of now, with `ra-client calibrate`."


def _way(one: Compared) -> str:
    return f"{one.name} {'higher' if one.drift.higher else 'lower or spread otherwise'}"
