"""What attacks on a model have found at this site: `leak.json` beside the model, and the same in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from ra_core.config import PolicyConfig
from ra_core.files import write_atomically
from ra_core.membership import FALSE_ALARMS, Findings
from ra_core.metrics import Estimate
from ra_core.settings import Config

__all__ = ["METRIC", "Attack", "Outcome", "load_outcome", "save_outcome", "told"]

FILE = "leak.json"
METRIC = "membership"
"""What `policy.metrics` calls these numbers."""


class Attack(Config):
    """A share or an AUROC in [0, 1], with its interval; None where there is none, and `note` says why."""

    value: float | None
    ci_low: float | None
    ci_high: float | None
    note: str

    @classmethod
    def of(cls, estimate: Estimate) -> Attack:
        """Without the counts."""
        return cls(value=estimate.value, ci_low=estimate.ci_low, ci_high=estimate.ci_high, note=estimate.note)


class Outcome(Config):
    """Membership attacks on a model at one site.

    Attributes:
        model_hash: of the model.
        site: whose patients they are.
        trained_patients, trained_images, held_back_patients, held_back_images: behind all numbers.
        changed: whether the site's training images are others in number than the model's card says; the attack then
            misses some, or counts some for trained on that were not.
        references: models without the patient that the likelihood ratio looks at; each of `steps`.
        as_study: whether the study said how references are trained; else the program's usual settings did.
        seed: of references and intervals.
        confidence: coverage of the intervals.
        epsilon: differential privacy of the site's patients as the card has it; None without.
        loss_gap, likelihood_ratio, images_alone, found: as of `Findings`.
    """

    format: Literal[2] = 2
    model_hash: str
    site: str
    trained_patients: int
    trained_images: int
    held_back_patients: int
    held_back_images: int
    changed: bool
    references: int
    steps: int
    as_study: bool
    seed: int
    confidence: float
    epsilon: float | None
    loss_gap: Attack
    likelihood_ratio: Attack
    images_alone: Attack
    found: Attack

    @classmethod
    def of(cls, findings: Findings, **facts: object) -> Outcome:
        """Findings with what they rest on."""
        return cls.model_validate(facts | {name: Attack.of(found) for name, found in vars(findings).items()})

    @property
    def verdict(self) -> str:
        """The stronger attack in a line."""
        found = self.likelihood_ratio
        if found.ci_low is None:
            return f"no verdict: {found.note}"
        if found.ci_low > 0.5:
            return f"the model tells something of who was trained on: AUROC {_number(found)}"
        return f"these attacks don't tell who was trained on: AUROC {_number(found)}"


def save_outcome(model: Path, outcome: Outcome) -> Path:
    """Write it beside the model, for its owner's eyes; the value is the file.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    write_atomically(model / FILE, (outcome.model_dump_json(indent=2) + "\n").encode(), mode=0o600)
    return model / FILE


def load_outcome(model: Path, model_hash: str) -> Outcome | None:
    """What was found of this very model; None where nothing was, or it is damaged or of another."""
    try:
        found = Outcome.model_validate_json((model / FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.model_hash == model_hash else None


def told(outcome: Outcome, policy: PolicyConfig) -> Iterator[str]:
    """Lines for people: a data-protection officer among them."""
    o = outcome
    yield (
        f"model {o.model_hash[:16]} at {o.site}: {o.trained_patients} patients ({o.trained_images} images) trained on, "
        f"{o.held_back_patients} ({o.held_back_images}) held back"
    )
    yield f"likelihood ratio  AUROC {_number(o.likelihood_ratio)}  against {o.references} models without the patient"
    yield f"loss gap          AUROC {_number(o.loss_gap)}"
    yield f"images alone      AUROC {_number(o.images_alone)}  without the model: should hold 0.5"
    yield f"found             {_number(o.found)} of those trained on, at {FALSE_ALARMS:g} false alarms or fewer"
    yield f"{o.verdict}; 0.5 is a coin, intervals are {o.confidence:.0%} over patients"
    if not o.as_study:
        yield "careful: reference models were trained by the usual settings, which need not be the model's: add --study"
    if o.changed:
        yield "careful: the card has another number of training images here; who was trained on is not known for sure"
    if o.epsilon is not None:
        yield f"by differential privacy, updates of this site tell at most epsilon {o.epsilon:.3g} of a patient"
    yield f"This stays here, nothing sends it. {_rule(o, policy)}"


def _rule(outcome: Outcome, policy: PolicyConfig) -> str:
    """What the policy says of telling it to others by hand."""
    if not policy.lets_out(METRIC):
        return f"By policy.metrics it may not be told outside either: '{METRIC}' is not among them."
    if outcome.epsilon is not None and "metrics" not in policy.dp_tells:
        return "By policy.dp_tells it may not be told outside either: no epsilon covers it."
    return "By the policy it may be told outside, as means over the site's images may."


def _number(found: Attack) -> str:
    if found.value is None:
        return f"unknown ({found.note})"
    interval = found.note if found.ci_low is None else f"{found.ci_low:.2f} to {found.ci_high:.2f}"
    return f"{found.value:.2f} ({interval})"
