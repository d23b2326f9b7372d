"""Scores of this site's patients under the chosen model, told as counts alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.delivery import assembled
from client.histograms.terms import why_no_histograms, why_no_tests, why_too_few, why_too_small
from client.rounds import Site
from ra_core.config import CalibrationConfig, PerceptualConfig, StudyConfig
from ra_core.data import ImageSet
from ra_core.data.site_images import halves
from ra_core.evaluation import reference_images
from ra_core.hashing import array_digest
from ra_core.messages import ABSENT, CheckOrder, CheckReply, HistogramOrder, HistogramReply, MessageError
from ra_core.models.features import pretrained
from ra_core.scoring import Scorer
from ra_core.site_scorer import SiteScorer, batches
from ra_core.thresholds import EDGES, Histogram, patient_scores

__all__ = ["Scores", "check", "histogram"]

_NONE = Histogram(())


def histogram(site: Site, order: HistogramOrder) -> HistogramReply:
    """Scores of the first half of the calibration patients, in the finest cells that there are.

    Raises:
        MessageError: the study asks for no calibration, or the model's tensors are not the study's.
        ConfigError: the method has no such scoring.
        StateError: layers of this site belong to the model, and are lost.
        WeightsError: the scoring needs a perceptual network that this machine doesn't have.
    """
    study, network = order.study, ""
    asked, half = _asked(study), halves(site.images.calibration)[0]
    found, why = _NONE, _why_none(site, study) or why_too_few(site.config.policy, _patients(half))
    if not why:
        scorer = Scores(site, order, asked)
        found, network = scorer.histogram(half), scorer.network
    return HistogramReply(
        site=site.config.data.site,
        study_digest=study.digest(),
        model_hash=array_digest(order.model),
        network=network,
        n=found.n,
        withheld=why,
        scores=found,
    )


def check(site: Site, order: CheckOrder) -> CheckReply:
    """How many of the second half are above the thresholds; where the policy lets them out, test patients by class.

    Raises:
        As `histogram`.
    """
    study = order.study
    asked, half = _asked(study), halves(site.images.calibration)[1]
    none = _why_none(site, study)
    why = none or why_too_few(site.config.policy, _patients(half))
    classes = _by_class(site.images.test, asked)
    why_tests = none or _why_no_tests(site, study, classes)
    second, healthy, anomalous = np.zeros(0), _NONE, _NONE
    scorer = None if why and why_tests else Scores(site, order, asked)
    if scorer and not why:
        second = scorer.of(half)
    if scorer and not why_tests:
        healthy, anomalous = map(scorer.histogram, classes)

    def above(place: int) -> int:
        return ABSENT if place == ABSENT or why else int((second > EDGES[place]).sum())

    return CheckReply(
        site=site.config.data.site,
        study_digest=study.digest(),
        model_hash=array_digest(order.model),
        local=order.local,
        pooled=order.pooled,
        shrunken=order.shrunken,
        n=len(second),
        above_local=above(order.local),
        above_pooled=above(order.pooled),
        above_shrunken=above(order.shrunken),
        withheld=why,
        withheld_test=why_tests,
        healthy=healthy,
        anomalous=anomalous,
    )


class Scores:
    """The chosen model, ready to score patients of this site.

    Args:
        site: whose images they are.
        order: with the model.
        config: what the study asks for.

    Attributes:
        network: SHA-256 of the perceptual network; empty where the scoring needs none.
    """

    def __init__(self, site: Site, order: HistogramOrder | CheckOrder, config: CalibrationConfig) -> None:
        study, self._unit = order.study, config.unit
        method = assembled(order, site.state).to(site.runtime.device)
        scoring = config.scoring_of(method.scorings)
        perceptual = None
        if scoring.is_perceptual:  # from where this machine has it: an order names no path here
            perceptual = pretrained(PerceptualConfig(net=study.perceptual.net), str(site.runtime.device))
        self.network = perceptual.digest if perceptual else ""
        self._size = study.evaluation.batch_size
        reference = _reference(site.images.train, study) if scoring.standardise else []
        images = list(batches(site.images.train, self._size, reference))
        scorer, device = Scorer(perceptual), site.runtime.device
        try:
            self._scorer = SiteScorer.fit(method, scorer, [scoring], images, device)
        except ValueError:  # the method makes no map of one of them at least: without these
            plain = SiteScorer(method, scorer, [scoring.model_copy(update={"standardise": False})], {}, device)
            drawn = (x[np.isfinite(_scores(plain, x))] for x in images)
            self._scorer = SiteScorer.fit(method, scorer, [scoring], (x for x in drawn if len(x)), device)

    def of(self, images: ImageSet) -> NDArray[np.float64]:
        """One score a patient, (K,), in [0, EDGES[-1]]."""
        if not len(images):
            return np.zeros(0)
        found = np.concatenate([_scores(self._scorer, x) for x in batches(images, self._size)])
        # Beyond the highest published edge, or no number: an error or a reason would tell of a single patient.
        within = np.where(found < EDGES[-1], found, EDGES[-1])
        return patient_scores(within, [row.patient_id for row in images.rows], images.names, self._unit)

    def histogram(self, images: ImageSet) -> Histogram:
        """Of one score a patient."""
        return Histogram.of(self.of(images))


def _scores(scorer: SiteScorer, x: Tensor) -> NDArray[np.float64]:
    """Of images (N, 1, S, S), by its one scoring, (N,); no number where the model makes none of an image."""
    try:
        (found,) = scorer.scores([x]).values()
    except ValueError:  # by at least one of them: each by itself
        return np.concatenate([_scores(scorer, one) for one in torch.split(x, 1)]) if len(x) > 1 else np.full(1, np.nan)
    return found


def _why_none(site: Site, study: StudyConfig) -> str:
    policy = site.config.policy
    return why_no_histograms(policy, study) or why_too_small(policy, _patients(site.images.train))


def _why_no_tests(site: Site, study: StudyConfig, classes: Iterable[ImageSet]) -> str:
    policy = site.config.policy
    if why := why_no_tests(policy, study):
        return why
    if not len(site.images.test):
        return "it has no test images"
    return next((why for images in classes if len(images) and (why := why_too_few(policy, _patients(images)))), "")


def _patients(images: ImageSet) -> int:
    return len({row.patient_id for row in images.rows})


def _asked(study: StudyConfig) -> CalibrationConfig:
    if study.calibration is None:
        raise MessageError("the study asks for no calibration")
    return study.calibration


def _reference(train: ImageSet, study: StudyConfig) -> Sequence[int]:
    return reference_images(len(train), study.evaluation, study.seed)


def _by_class(test: ImageSet, config: CalibrationConfig) -> tuple[ImageSet, ImageSet]:
    """Healthy test patients, who have no anomalous image, and the others: of a slice the anomalous ones alone count."""
    sick = {row.patient_id for row in test.rows if row.label == "anomalous"}
    healthy = test.of_patients(lambda patient: patient not in sick)
    anomalous = test.of_patients(sick.__contains__)
    return healthy, anomalous if config.unit == "study" else anomalous.of_label("anomalous")
