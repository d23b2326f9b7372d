"""A call of `ra-client calibrate`: from a site's healthy images to thresholds beside a model, and its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from client.calibrate.consortium import drift_from, picked, references, scored_alike
from client.calibrate.helped import helped
from client.calibrate.outcome import Outcome, differs
from client.calibrate.page import render_page
from client.calibrate.scoring import CONFIG, Chosen, candidates, choose
from client.calibrate.warn import foreign
from client.site import data_root, enough, survey
from ra_core.artifact import Artifact, Card, load_artifact
from ra_core.calibration import save_calibration
from ra_core.calibration.calibrating import TRAINED_TOO, assembled, unpromised, ways
from ra_core.calibration.image_threshold import ImageThreshold
from ra_core.calibration.measured import Measured, measure
from ra_core.calibration.watching import UNITS
from ra_core.config import SiteConfig
from ra_core.console import TerminalReporter
from ra_core.data import SiteImages, halves
from ra_core.data.checks import Pictures
from ra_core.data.site_images import sets_thresholds
from ra_core.errors import ConfigError, TooFewImagesError
from ra_core.files import cache_folder, write_atomically
from ra_core.model import give_network
from ra_core.runtime import Runtime
from ra_core.settings import load_config
from ra_core.thresholds import Unit
from ra_core.thresholds.record import Way
from ra_core.thresholds.told import told_of_site

__all__ = ["PAGE", "Asked", "run_calibrate"]

PAGE = "calibration.html"

USUAL_RATE = 0.05


@dataclass(frozen=True)
class Asked:
    """What a caller wants.

    Attributes:
        rate: of false alarms; None leaves it to the consortium.
        pixel_rate: of pixels.
        scoring: its name; None leaves it open.
        way: which threshold decides; None leaves it open.
    """

    rate: float | None
    pixel_rate: float
    scoring: str | None
    way: str | None


def run_calibrate(
    site: Path,
    model: Path,
    asked: Asked,
    out: Path | None,
    profiles: Sequence[Path],
    weights: Path | None,
    data: Path | None,
    cache: Path | None,
) -> list[str]:
    """What the command does; its options are explained there. The value is what it says.

    Raises:
        RAError: a config, the model, a profile or the data is no good; or there is no patient to calibrate on.
        OSError: the folder can't be written.
    """
    reporter = TerminalReporter()
    config, artifact = load_config(site, SiteConfig), load_artifact(model)
    card = artifact.card
    rate, offered = _rate(asked, card), candidates(artifact, config.data.site, asked.scoring)
    runtime = Runtime.resolve(config.runtime, "fp32")
    kept = (cache or cache_folder()) / "images"
    with reporter.counted("reading files") as progress:
        found = survey(config, card.preprocessing, data_root(config, data), kept, progress)
    whole = enough(config, found.images(config, card.preprocessing, kept))
    warnings, remarks = foreign(Pictures.of(found.scan, found.named), config, card, profiles)
    images = whole.kept_back()
    if not len(halves(images.calibration)[0]):
        raise TooFewImagesError(
            f"site '{config.data.site}' has no patient to set thresholds on",
            "give more healthy patients the split calibration",
        )
    too, kept_back = (False, "") if len(whole.calibration) else helped(card, config.data.site)
    remarks += [kept_back] if kept_back else []
    give_network(model, artifact, weights, runtime.device)
    artifact.method.to(runtime.device)
    reporter.say("scoring on healthy images")
    chosen = choose(artifact, images, offered, weights, runtime)
    everyone = _measured(reporter, chosen, images)
    outcome = _outcome(config.data.site, artifact, chosen, images, everyone, rate, asked, too, warnings, remarks)
    folder = out or model
    save_calibration(folder, outcome.calibration)
    write_atomically(folder / PAGE, render_page(outcome), mode=0o600)
    return [*outcome.lines(), str(folder / PAGE)]


def _rate(asked: Asked, card: Card) -> float:
    for name, rate in (("rate", asked.rate), ("pixel-rate", asked.pixel_rate)):
        if rate is not None and not 0 < rate < 1:
            raise ConfigError(f"--{name} {rate:g} is no rate", "give a number between 0 and 1, as 0.05")
    if asked.rate is not None:
        return asked.rate
    return card.calibration.rate if card.calibration else USUAL_RATE


def _measured(reporter: TerminalReporter, chosen: Chosen, images: SiteImages) -> Measured:
    with reporter.task("scoring calibration images", len(images.calibration)) as move:
        return measure(
            chosen.scorer,
            chosen.scoring,
            images.calibration,
            CONFIG.batch_size,
            lambda done: move(done, ""),
            sets_thresholds,
        )


def _outcome(
    site: str,
    artifact: Artifact,
    chosen: Chosen,
    images: SiteImages,
    everyone: Measured,
    rate: float,
    asked: Asked,
    chose_too: bool,
    warnings: list[str],
    remarks: list[str],
) -> Outcome:
    theirs, why = scored_alike(artifact.card, chosen)
    known, why = references(theirs, rate, everyone.pictures == (1, 1)) if theirs else ({}, why)
    first, second = (everyone.of({row.patient_id for row in half.rows}) for half in halves(images.calibration))
    found: dict[Unit, dict[Way, ImageThreshold]] = {
        unit: ways(first, second, rate, unit, known.get(unit)) for unit in UNITS
    }
    pixel = first.pixel_threshold(asked.pixel_rate)
    if chose_too:
        found = {u: {way: unpromised(one, TRAINED_TOO) for way, one in by_way.items()} for u, by_way in found.items()}
        pixel = unpromised(pixel, TRAINED_TOO)
    moved = drift_from(theirs, site, everyone)
    if moved and differs(moved):
        higher = "higher" if moved.higher else "other, not higher"
        warnings = [
            *warnings,
            f"healthy scores here are {higher} than the consortium's: the pooled threshold does not fit this site",
        ]
    calibration = assembled(
        site,
        chosen.scorer,
        chosen.scoring,
        pixel,
        {unit: picked(thresholds, asked.way) for unit, thresholds in found.items()},
        first,
        everyone,
        chosen.net,
        artifact.card.model_hash,
    )
    return Outcome(
        calibration=calibration,
        why=chosen.why,
        behind=len(set(first.patients)),
        others=len(set(second.patients)),
        pictures=everyone.pictures,
        ways=found,
        scores={unit: everyone.by_patient(unit) for unit in UNITS},
        run=tuple(told_of_site(theirs, site)) if theirs else (),
        drift=moved,
        warnings=tuple(warnings),
        remarks=(*remarks, *([why] if why else [])),
    )
