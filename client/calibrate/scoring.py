"""Which way to score a site calibrates: the one asked for, the consortium's, or the one that its images choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ra_core.artifact import Artifact, Card
from ra_core.config import EvaluationConfig, PerceptualConfig
from ra_core.data import SiteImages
from ra_core.errors import ConfigError, WeightsError
from ra_core.evaluation import reference_images
from ra_core.metrics import Resampling
from ra_core.models.configs.perceptual import Net
from ra_core.perceptual import Perceptual
from ra_core.runtime import Runtime
from ra_core.scoring import Scorer, ScoringConfig
from ra_core.selection import choose_scoring, synthetic_auroc
from ra_core.site_scorer import SiteScorer, batches

__all__ = ["Candidates", "Chosen", "candidates", "choose"]

CONFIG = EvaluationConfig(bootstrap=100)  # intervals play no part

OTHERS = 64
"""Training images that foreign pieces of synthetic anomalies come from."""


Candidates = tuple[Sequence[ScoringConfig], str]
"""Ways to score, and why just these."""


@dataclass(frozen=True)
class Chosen:
    """A way to score, ready at a site.

    Attributes:
        scoring: the way.
        why: in words.
        scorer: with the site's statistics.
        net: backbone of the perceptual network, where one is needed.
    """

    scoring: ScoringConfig
    why: str
    scorer: SiteScorer
    net: Net

    @property
    def network(self) -> str:
        """SHA-256 of the perceptual network behind the scores; empty where they need none."""
        perceptual = self.scorer.scorer.perceptual
        return perceptual.digest if perceptual and self.scoring.is_perceptual else ""


def choose(
    artifact: Artifact, images: SiteImages, offered: Candidates, weights: Path | None, runtime: Runtime
) -> Chosen:
    """Decide how to score; where that is the consortium's way, with its settings, so that its scores are as these.

    Args:
        artifact: the model; its method is on the runtime's device.
        images: of the site, none of which is one of calibration for this.
        offered: what `candidates` gives; of several the images choose.
        weights: file of the perceptual network's; None searches for them.
        runtime: the machine.

    Raises:
        WeightsError: one of them needs a perceptual network that isn't there.
    """
    scorings, why = offered
    needed = any(scoring.is_perceptual for scoring in scorings)
    config, perceptual = _settings(artifact.card, scorings, weights)
    scorer = Scorer(_network(perceptual, runtime) if needed else None)
    seed = artifact.card.seed
    reference = reference_images(len(images.train), config, seed)
    train = batches(images.train, CONFIG.batch_size, reference)
    site = SiteScorer.fit(artifact.method, scorer, scorings, train, runtime.device)
    if len(scorings) == 1:
        return Chosen(scorings[0], why, site, perceptual.net)
    val = list(batches(images.val, CONFIG.batch_size))
    patients = [row.patient_id for row in images.val.rows]
    others = images.train.images(reference[:OTHERS])
    resampling = Resampling(bootstrap=CONFIG.bootstrap, confidence=CONFIG.confidence, seed=seed)
    found = synthetic_auroc(site, val, site.scores(val), others, patients, resampling)
    return Chosen(choose_scoring(scorings, found)[0], why, site, perceptual.net)


def _settings(
    card: Card, scorings: Sequence[ScoringConfig], weights: Path | None
) -> tuple[EvaluationConfig, PerceptualConfig]:
    theirs = card.calibration
    if theirs is None or list(scorings) != [theirs.scoring]:
        return CONFIG, PerceptualConfig(weights=weights)
    config = CONFIG.model_copy(update={"reference_images": theirs.reference_images or CONFIG.reference_images})
    perceptual = PerceptualConfig(weights=weights)
    return config, perceptual.model_copy(update={"net": theirs.perceptual_net or perceptual.net})


def candidates(artifact: Artifact, site: str, name: str | None) -> Candidates:
    """Ways to score that come into question, before any image is looked at.

    Args:
        artifact: the model.
        site: whose images are to be scored.
        name: asked for; None leaves it to the model's card, or to the images.

    Raises:
        ConfigError: there is no scoring of that name.
    """
    offered, card = artifact.method.scorings, artifact.card
    if name is not None:
        found = [scoring for scoring in offered if scoring.name == name]
        if not found:
            names = ", ".join(scoring.name for scoring in offered)
            raise ConfigError(f"there is no scoring '{name:.40}' of {card.method.name}", f"it has {names}")
        return found, "asked for"
    if card.calibration:
        return [card.calibration.scoring], "the consortium's way to score"
    by_heart = _knows_by_heart(artifact, card, site)
    fit = [scoring for scoring in offered if not (scoring.standardise and by_heart)]
    return fit, "it finds synthetic anomalies on val images best"


def _knows_by_heart(artifact: Artifact, card: Card, site: str) -> bool:
    """Then maps of training images tell nothing of what others look like."""
    return artifact.method.memorises and site in card.sites


def _network(config: PerceptualConfig, runtime: Runtime) -> Perceptual:
    try:
        return Perceptual.load(config, runtime.device)
    except WeightsError as error:
        hint = f"{error.hint}; or name a scoring that needs none, as --scoring residual_top"
        raise WeightsError(error.message, hint) from None
