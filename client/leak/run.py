"""A call of `ra-client leak`: who was trained on and who wasn't, attacks, and what they found beside the model."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np

from client.leak.outcome import Outcome, save_outcome, told
from client.site import data_root, open_site
from ra_core.artifact import Card, load_artifact
from ra_core.config import SiteConfig, StudyConfig, TrainingConfig
from ra_core.console import TerminalReporter
from ra_core.data import JoinedImages, SiteImages
from ra_core.errors import ConfigError
from ra_core.files import cache_folder
from ra_core.membership import Crowd, Recipe, attack, confidences, reference_confidences
from ra_core.runtime import Runtime
from ra_core.settings import load_config

__all__ = ["run_leak"]

BOOTSTRAP, CONFIDENCE = 2000, 0.95


def run_leak(
    site: Path,
    model: Path,
    study: Path | None,
    pairs: int,
    steps: int | None,
    seed: int,
    data: Path | None,
    cache: Path | None,
) -> list[str]:
    """What the command does; its options are explained there. The value is what it says.

    Raises:
        RAError: a config, the model or the data is no good; the model wasn't trained at this site; too few patients.
        OSError: the model's folder can't be written.
    """
    config, artifact, reporter = load_config(site, SiteConfig), load_artifact(model), TerminalReporter()
    name, card = config.data.site, artifact.card
    if name not in card.sites:
        raise ConfigError(f"{model}: was not trained at site '{name}'", "here is nobody whom it could tell of")
    recipe = _recipe(card, study, steps)
    with reporter.counted("reading files") as progress:
        images = open_site(
            config, card.preprocessing, data_root(config, data), (cache or cache_folder()) / "images", progress
        )
    crowd = _crowd(images)
    runtime = Runtime.resolve(config.runtime, recipe.training.precision)
    with reporter.task("training reference models", 2 * pairs * recipe.training.steps) as move:
        done = count(1)
        without = reference_confidences(crowd, recipe, runtime, pairs, seed, lambda: move(next(done), ""))
    target = confidences(artifact.method.to(runtime.device), crowd.images, recipe.training.batch_size, runtime.device)
    findings = attack(crowd, target, without, bootstrap=BOOTSTRAP, confidence=CONFIDENCE, seed=seed)
    inside = crowd.in_training
    outcome = Outcome.of(
        findings,
        model_hash=card.model_hash,
        site=name,
        trained_patients=int(inside.sum()),
        trained_images=int(crowd.trained.sum()),
        held_back_patients=int((~inside).sum()),
        held_back_images=int((~crowd.trained).sum()),
        changed=_changed(card, name, len(images.train)),
        references=pairs,
        steps=recipe.training.steps,
        as_study=study is not None,
        seed=seed,
        confidence=CONFIDENCE,
        epsilon=_epsilon(card, name),
    )
    file = save_outcome(model, outcome)
    return [*told(outcome, config.policy), str(file)]


def _recipe(card: Card, file: Path | None, steps: int | None) -> Recipe:
    """How reference models are trained: as the study says, if it is the model's; so many steps as the model."""
    study = load_config(file, StudyConfig) if file else None
    if study and (study.method, study.preprocessing) != (card.method, card.preprocessing):
        raise ConfigError(f"{file}: is not the study of this model", "its method or preprocessing is another")
    training = study.training if study else TrainingConfig()
    return Recipe(
        card.method, card.preprocessing.size, training.model_copy(update={"steps": steps or max(card.steps, 1)})
    )


def _crowd(images: SiteImages) -> Crowd:
    """Healthy patients of the site; those of train were trained on."""
    found = [(images.train, index) for index in range(len(images.train))]
    found += [(images.val, index) for index in range(len(images.val))]
    found += [(images.test, index) for index, row in enumerate(images.test.rows) if row.label == "healthy"]
    trained = np.arange(len(found)) < len(images.train)
    return Crowd(JoinedImages(found), [source.rows[index].patient_id for source, index in found], trained)


def _changed(card: Card, site: str, images: int) -> bool:
    """Whether the card counts other training images; a site with differential privacy may have told none."""
    told = [summary.train_images for summary in card.data if summary.site == site]
    return any(count not in (0, images) for count in told)


def _epsilon(card: Card, site: str) -> float | None:
    told = [found.epsilon for found in card.privacy.sites if found.site == site] if card.privacy else []
    return told[0] if told else None
