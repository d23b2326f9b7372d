"""Scores of this site's patients under the chosen model, told as counts alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from client.delivery import assembled
from client.histograms.terms import why_no_histograms, why_no_tests, why_too_small
from client.rounds import Site
from ra_core.config import CalibrationConfig, PerceptualConfig, StudyConfig
from ra_core.data import ImageSet
from ra_core.data.site_images import halves
from ra_core.evaluation import reference_images
from ra_core.hashing import tensor_digest
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
    study = order.study
    found, why, network = _NONE, _why_none(site, study), ""
    if not why:
        scorer = Scores(site, order)
        network = scorer.network
        found, why = scorer.histogram(halves(site.images.calibration)[0])
    return HistogramReply(
        site=site.config.data.site,
        study_digest=study.digest(),
        model_hash=_hash(order),
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
    why = _why_none(site, study)
    why_tests = why or why_no_tests(site.config.policy, study)
    second, healthy, anomalous = np.zeros(0), _NONE, _NONE
    scorer = None if why else Scores(site, order)
    if scorer:
        second = scorer.of(halves(site.images.calibration)[1])
    if scorer and not why_tests:
        (healthy, beyond), (anomalous, too) = map(scorer.histogram, _by_class(site.images.test, scorer.config))
        why_tests = beyond or too if len(site.images.test) else "it has no test images"

    def above(place: int) -> int:
        return ABSENT if place == ABSENT or why else int((second > EDGES[place]).sum())

    return CheckReply(
        site=site.config.data.site,
        study_digest=study.digest(),
        model_hash=_hash(order),
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

    Attributes:
        config: what the study asks for.
        network: SHA-256 of the perceptual network; empty where the scoring needs none.
    """

    def __init__(self, site: Site, order: HistogramOrder | CheckOrder) -> None:
        study = order.study
        self.config = _asked(study)
        method = assembled(order, site.state).to(site.runtime.device)
        scoring = self.config.scoring_of(method.scorings)
        perceptual = None
        if scoring.is_perceptual:  # from where this machine has it: an order names no path here
            perceptual = pretrained(PerceptualConfig(net=study.perceptual.net), str(site.runtime.device))
        self.network = perceptual.digest if perceptual else ""
        self._size = study.evaluation.batch_size
        reference = _reference(site.images.train, study) if scoring.standardise else []
        images = batches(site.images.train, self._size, reference)
        self._scorer = SiteScorer.fit(method, Scorer(perceptual), [scoring], images, site.runtime.device)
        self._name = scoring.name

    def of(self, images: ImageSet) -> NDArray[np.float64]:
        """One score a patient, (K,), at least 0."""
        if not len(images):
            return np.zeros(0)
        found = self._scorer.scores(batches(images, self._size))[self._name]
        return patient_scores(found, [row.patient_id for row in images.rows], images.names, self.config.unit)

    def histogram(self, images: ImageSet) -> tuple[Histogram, str]:
        """Of one score a patient; and why there is none, empty where there is one."""
        found = self.of(images)
        if (found > EDGES[-1]).any():
            return _NONE, "scores lie above the highest published edge"
        return Histogram.of(found), ""


def _why_none(site: Site, study: StudyConfig) -> str:
    policy, patients = site.config.policy, {row.patient_id for row in site.images.train.rows}
    return why_no_histograms(policy, study) or why_too_small(policy, len(patients))


def _asked(study: StudyConfig) -> CalibrationConfig:
    if study.calibration is None:
        raise MessageError("the study asks for no calibration")
    return study.calibration


def _hash(order: HistogramOrder | CheckOrder) -> str:
    return tensor_digest({name: torch.from_numpy(array) for name, array in order.model.items()})


def _reference(train: ImageSet, study: StudyConfig) -> Sequence[int]:
    return reference_images(len(train), study.evaluation, study.seed)


def _by_class(test: ImageSet, config: CalibrationConfig) -> tuple[ImageSet, ImageSet]:
    """Healthy test patients, who have no anomalous image, and the others: of a slice the anomalous ones alone count."""
    sick = {row.patient_id for row in test.rows if row.label == "anomalous"}
    healthy = test.of_patients(lambda patient: patient not in sick)
    anomalous = test.of_patients(sick.__contains__)
    return healthy, anomalous if config.unit == "study" else anomalous.of_label("anomalous")
