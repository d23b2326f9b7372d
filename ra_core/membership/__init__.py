"""Whether a model tells who it was trained on: membership attacks on healthy patients, some of whom it never saw.

An attacker has the model and all images of a patient, and says how likely the patient was trained on. Two attacks:

- the *loss gap*: who is explained better was rather trained on (Yeom et al. 2018, section 3);
- the *likelihood ratio*: the same, held against how well models explain the patient that have not seen him (Carlini et
  al. 2022, section VI, the attack with models without the patient, "offline"; one variance for all, as they advise for
  few models, which then changes no order). Such models have to be made: `reference_confidences` trains them on halves
  of the same patients. What this compares is also Watson et al.'s difficulty calibration (2022) with several models.

References:
    Yeom et al., "Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting", CSF 2018, arXiv
    1709.01604.
    Carlini et al., "Membership Inference Attacks From First Principles", IEEE S&P 2022, arXiv 2112.03570.
    Watson et al., "On the Importance of Difficulty Calibration in Membership Inference Attacks", ICLR 2022, arXiv
    2111.08440.
"""

from ra_core.membership.attack import FALSE_ALARMS, Findings, attack
from ra_core.membership.crowd import FEWEST_PATIENTS, Crowd
from ra_core.membership.references import Recipe, confidences, reference_confidences

__all__ = [
    "FALSE_ALARMS",
    "FEWEST_PATIENTS",
    "Crowd",
    "Findings",
    "Recipe",
    "attack",
    "confidences",
    "reference_confidences",
]
