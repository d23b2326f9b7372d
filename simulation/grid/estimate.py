"""How long cells will take on this machine: a few steps and a few maps of each method are timed."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from ra_core.config import StudyConfig
from ra_core.data import HeldImages
from ra_core.models.method import FittedMethod, GradientMethod, Method
from ra_core.models.registry import build_method
from ra_core.rng import generator
from ra_core.scoring import Scorer
from ra_core.synthetic import KINDS
from ra_core.training import LocalTrainer
from simulation.grid.arms import ARMS
from simulation.grid.cells import Cell
from simulation.grid.pictures import chosen_of
from simulation.grid.workbench import Workbench
from simulation.places import Place

__all__ = ["Estimator"]

TIMED = 2
"""Steps that are timed, after one that warms up."""

FITTED_SECONDS = 0.05
"""A guess for an image that a method is computed from in one pass."""


SHORTCUT_SECONDS = 0.002
"""A guess for an image on which the shortcuts are measured."""


class Estimator:
    """Times each method once, on random images.

    Args:
        bench: sites and machine.
    """

    def __init__(self, bench: Workbench) -> None:
        self._places, self._machine, self._scorer = bench.places, bench.machine, Scorer(bench.perceptual)
        self._adapt_steps = bench.adapt_steps
        self._timed: dict[str, tuple[float, float]] = {}

    def seconds(self, cell: Cell) -> float:
        """Of a cell, by rule of thumb."""
        study = cell.study
        if not cell.is_trained:
            return SHORTCUT_SECONDS * sum(_scored(place, study) for place in self._places)
        key = f"{study.method.digest()} {study.preprocessing.size} {study.training.batch_size}"
        if key not in self._timed:
            self._timed[key] = self._time(study)
        step, image = self._timed[key]
        sites = len(cell.variant.sites)
        models = sites if ARMS[cell.arm].federation is not None else 1
        members = [place for place in self._places if place.name in cell.variant.sites]
        looked_at = sum(len(place.images.val) for place in members) * study.federation.rounds * (models > 1)
        if study.method.fitted:
            training = FITTED_SECONDS * sum(len(place.images.train) for place in members)
        else:
            training = step * (study.training.steps * models + self._adapted(cell)) + 0.1 * image * looked_at
        return training + image * sum(_scored(place, study) + _drawn(place) for place in self._places)

    def _adapted(self, cell: Cell) -> int:
        """Steps that private parts take at sites which took no part."""
        if not ARMS[cell.arm].private:
            return 0
        outside = [p for p in self._places if p.name not in cell.variant.sites and not p.borrows]
        return self._adapt_steps * len(outside)

    def _time(self, study: StudyConfig) -> tuple[float, float]:
        """Seconds of a step and of an image's maps."""
        method = build_method(study.method, study.preprocessing.size, 0)
        shape = max(8, study.training.batch_size), 1, study.preprocessing.size, study.preprocessing.size
        noise = HeldImages(torch.rand(shape, generator=generator(0, "estimate")))
        if isinstance(method, FittedMethod):
            method.fit([noise.images(range(8))])
            return 0.0, self._maps(method, noise)
        warm, whole = study.method.unselectable_steps, study.training.steps
        late = self._steps(method, noise, study, warm)
        early = self._steps(method, noise, study, 0) if warm else late
        return (early * warm + late * (whole - warm)) / whole, self._maps(method, noise)

    def _steps(self, method: GradientMethod, noise: HeldImages, study: StudyConfig, start: int) -> float:
        quiet = study.training.model_copy(update={"steps": start + TIMED + 2, "validate_every": start + TIMED + 2})
        trainer = LocalTrainer(method, noise, noise, quiet, self._machine, 0, start)
        trainer.run(start + 1)
        return _seconds(lambda: trainer.run(start + 1 + TIMED)) / TIMED

    def _maps(self, method: Method, noise: HeldImages) -> float:
        x = noise.images(range(8)).to(self._machine.device)
        with torch.inference_mode():
            return _seconds(lambda: method.eval().maps(x, self._scorer, method.scorings)) / len(x)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _scored(place: Place, study: StudyConfig) -> int:
    """Images that maps are made of at a site."""
    images = place.images
    reference = min(study.evaluation.reference_images, len(images.train))
    return reference + len(images.val) * (1 + len(KINDS)) + len(images.test)


def _drawn(place: Place) -> int:
    """Images of a site that pictures show."""
    return len(chosen_of(place.images.test)) if place.config.data.pictures else 0
