"""From a site's healthy images to its calibration: their scores, thresholds of each way, and what they look like.

The images must have chosen neither weights nor scoring, or a threshold promises nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ra_core.calibration.image_threshold import ImageThreshold
from ra_core.calibration.measured import Measured, measure
from ra_core.calibration.record import Calibration
from ra_core.config import EvaluationConfig
from ra_core.data import SiteImages
from ra_core.scoring import ScoringConfig
from ra_core.site_scorer import SiteScorer
from ra_core.thresholds import Promise, Unit, conformal_threshold
from ra_core.thresholds.record import Achieved, Way
from ra_core.thresholds.shrinkage import Reference, resting, shrunken

__all__ = ["CHOSE_TOO", "TRAINED_TOO", "assembled", "image_threshold", "own_calibration", "unpromised", "ways"]

P = TypeVar("P", bound=Promise)

CHOSE_TOO = "set on images that also chose the scoring: nothing is promised"
"""Note of thresholds that were set on validation images."""

TRAINED_TOO = "set on images that also chose the model's weights: nothing is promised"
"""The same where these chose the round, or the step, that the model is of."""

TOO_FEW = "not enough patients here or in the consortium"


def image_threshold(found: Measured, rate: float, unit: Unit) -> ImageThreshold:
    """From a site's own patients alone, with the guarantee of `conformal_threshold`."""
    return ImageThreshold.model_validate(conformal_threshold(found.by_patient(unit), rate, unit).model_dump())


def ways(
    found: Measured, others: Measured, rate: float, unit: Unit, reference: Reference | None
) -> dict[Way, ImageThreshold]:
    """Thresholds of every way, each tried on other patients of the site.

    Args:
        found: patients who set the thresholds.
        others: patients who try them; perhaps none.
        rate: of false alarms asked.
        unit: of the scores.
        reference: of a consortium, at that rate and of that unit; None gives the site's own alone.
    """
    own = image_threshold(found, rate, unit)
    thresholds: dict[Way, ImageThreshold] = {"local": own}
    if reference:
        between = shrunken(found.by_patient(unit), reference)
        thresholds["shrunken"] = _unguaranteed("shrunken", between, own.n, rate, unit, resting(own.n, rate))
        thresholds["pooled"] = _unguaranteed("pooled", reference.pooled, reference.n, rate, unit)
    tried = others.by_patient(unit) if len(others.scores) else np.zeros(0)
    return {way: _tried(threshold, tried) for way, threshold in thresholds.items()}


def assembled(
    site: str,
    scorer: SiteScorer,
    scoring: ScoringConfig,
    pixel: Promise,
    thresholds: Mapping[Unit, ImageThreshold],
    behind: Measured,
    everyone: Measured,
    perceptual_net: str,
    model_hash: str,
) -> Calibration:
    """A calibration of these parts.

    Args:
        site: its name.
        scorer: ready for the site.
        scoring: of all that was measured.
        pixel: threshold of pixels.
        thresholds: of images, by unit.
        behind: patients who set the thresholds.
        everyone: patients whom later ones are held against.
        perceptual_net: backbone of the perceptual network.
        model_hash: of the model.
    """
    perceptual = scorer.scorer.perceptual
    return Calibration(
        site=site,
        scoring=scoring,
        pixel=pixel,
        slice=thresholds["slice"],
        study=thresholds["study"],
        pictures=behind.pictures,
        usual=everyone.tallies(),
        mean_picture=everyone.mean_picture,
        perceptual_net=perceptual_net,
        perceptual_hash=perceptual.digest if perceptual else "",
        model_hash=model_hash,
        healthy=scorer.healthy.get(scoring.name),
    )


def unpromised(threshold: P, why: str) -> P:
    """The same threshold without its promise, where there is one; `why` is its note."""
    if threshold.value is None:
        return threshold
    return threshold.model_copy(update={"low": None, "high": None, "note": why})


def own_calibration(
    site: str,
    scorer: SiteScorer,
    scoring: ScoringConfig,
    images: SiteImages,
    config: EvaluationConfig,
    perceptual_net: str,
    model_hash: str,
) -> Calibration:
    """With thresholds from all of a site's calibration images, or where it has none from those that chose the scoring.

    Args:
        site: its name.
        scorer: a method ready for the site.
        scoring: that was chosen.
        images: of the site.
        config: rates asked, and how many images are scored at a time.
        perceptual_net: backbone of the perceptual network.
        model_hash: of the model.

    Raises:
        DataError: a file can't be read.
    """
    apart = len(images.calibration) > 0
    found = measure(scorer, scoring, images.calibration if apart else images.val, config.batch_size)
    units: tuple[Unit, ...] = ("slice", "study")
    thresholds = {unit: image_threshold(found, config.image_fpr, unit) for unit in units}
    if not apart:
        thresholds = {unit: unpromised(threshold, CHOSE_TOO) for unit, threshold in thresholds.items()}
    pixel = found.pixel_threshold(config.pixel_fpr)
    if not apart:
        pixel = unpromised(pixel, CHOSE_TOO)
    return assembled(site, scorer, scoring, pixel, thresholds, found, found, perceptual_net, model_hash)


def _unguaranteed(way: Way, value: float | None, n: int, rate: float, unit: Unit, rests: str = "") -> ImageThreshold:
    """A threshold that promises nothing; `rests` is what a reader has to know of it beside that."""
    note = TOO_FEW if value is None else "; ".join(filter(None, ("no finite-sample guarantee", rests)))
    return ImageThreshold(value=value, rate=rate, unit=unit, n=n, note=note, way=way)


def _tried(threshold: ImageThreshold, scores: NDArray[np.float64]) -> ImageThreshold:
    if threshold.value is None or not len(scores):
        return threshold
    above = int((scores > threshold.value).sum())
    return threshold.model_copy(update={"achieved": Achieved.of(threshold.value, above, len(scores))})
