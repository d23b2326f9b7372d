"""The attacks, from how well models explain images to how well patients are told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import numpy as np

from ra_core.membership.crowd import Crowd
from ra_core.metrics import Estimate, Resampling, detection_rate, image_auroc
from ra_core.metrics.inputs import FloatArray

__all__ = ["FALSE_ALARMS", "Findings", "attack"]

FALSE_ALARMS = 0.05
"""Share of patients who were not trained on and are taken for it, at which those found are counted."""


@dataclass(frozen=True)
class Findings:
    """What attacks have found; a patient trained on counts as anomalous in estimates.

    Attributes:
        loss_gap: AUROC of the loss gap, in [0, 1]; 0.5 is a coin.
        likelihood_ratio: AUROC of the likelihood ratio.
        images_alone: AUROC of what models without the patient say: far from 0.5, the two groups of images differ by
            themselves, and the loss gap shows that and not the model's memory.
        found: share of the patients trained on whom the likelihood ratio finds at `FALSE_ALARMS`.
    """

    loss_gap: Estimate
    likelihood_ratio: Estimate
    images_alone: Estimate
    found: Estimate


def attack(crowd: Crowd, target: FloatArray, without: FloatArray, **resampling: Unpack[Resampling]) -> Findings:
    """Both attacks on all patients; a patient's evidence is the mean over the images.

    Args:
        crowd: whose images.
        target: confidence of the model in each image, (N,).
        without: of models without its patient, (N,); of `reference_confidences`.
        resampling: see `Resampling`.

    Raises:
        ValueError: a confidence is not finite.
    """
    codes, labels = crowd.codes, crowd.in_training.astype(int)
    ids = [str(number) for number in range(len(labels))]

    def by_patient(values: FloatArray) -> FloatArray:
        found: FloatArray = np.bincount(codes, values) / np.bincount(codes)
        return found

    ratio = by_patient(target - without)
    threshold = float(np.quantile(ratio[labels == 0], 1 - FALSE_ALARMS, method="higher"))
    return Findings(
        image_auroc(by_patient(target), labels, ids, **resampling),
        image_auroc(ratio, labels, ids, **resampling),
        image_auroc(by_patient(without), labels, ids, **resampling),
        detection_rate(ratio, labels, ids, threshold, **resampling),
    )
