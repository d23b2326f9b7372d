"""Models that were trained without a patient, and how well models explain images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ra_core.config import TrainingConfig
from ra_core.errors import TooFewImagesError
from ra_core.membership.crowd import Crowd
from ra_core.metrics.inputs import BoolArray, FloatArray
from ra_core.models.configs import MethodSettings
from ra_core.models.method import FittedMethod, Images, Method
from ra_core.models.registry import build_method
from ra_core.rng import derive_seed
from ra_core.runtime import Runtime
from ra_core.site_scorer import batches
from ra_core.training import LocalTrainer

__all__ = ["Recipe", "confidences", "reference_confidences"]

SMALLEST_LOSS, LARGEST_LOSS = 1e-12, 500.0
"""Beyond them the confidence is infinite in float64."""


@dataclass(frozen=True)
class Recipe:
    """How a model is made.

    Attributes:
        method: its settings.
        size: side of the images.
        training: steps and batches; without steps for a method without them.
    """

    method: MethodSettings
    size: int
    training: TrainingConfig

    def trained(self, images: Images, runtime: Runtime, seed: int, on_step: Callable[[], None]) -> Method:
        """A model of these images alone: none is chosen by others, the last weights are taken.

        Raises:
            NonFiniteError: training diverged.
            TooFewImagesError: too few for a method without gradient steps.
        """
        method = build_method(self.method, self.size, seed)
        if isinstance(method, FittedMethod):
            try:
                method.fit(batches(images, self.training.batch_size))
            except ValueError as error:
                raise TooFewImagesError(f"{len(images)} images for a reference model: {error}", "give more") from None
            on_step()
            return method
        steps = self.training.steps
        quiet = self.training.model_copy(update={"steps": steps + 1, "validate_every": steps + 1, "ema_decay": 0.0})
        LocalTrainer(method, images, images, quiet, runtime, seed).run(steps, lambda *_: on_step())
        return method


def confidences(method: Method, images: Images, batch_size: int, device: torch.device) -> FloatArray:
    """How well a model explains each image, (N,): log(p / (1 - p)) with p = exp(-healthy error).

    Carlini et al. 2022, section VI: so scaled, values are nearly normal, as their ratio of likelihoods wants it.
    """
    method.eval()
    losses = [np.zeros(0)]
    with torch.inference_mode():
        losses += [method.healthy_error(x.to(device)).double().cpu().numpy() for x in batches(images, batch_size)]
    found: FloatArray = -np.log(np.expm1(np.concatenate(losses).clip(SMALLEST_LOSS, LARGEST_LOSS)))
    return found


def reference_confidences(
    crowd: Crowd,
    recipe: Recipe,
    runtime: Runtime,
    pairs: int,
    seed: int,
    on_step: Callable[[], None],
) -> FloatArray:
    """Mean confidence in each image of models that were trained without its patient, (N,).

    Each pair of models halves the patients at random, those trained on and the others alike, so that no reference
    tells the groups apart: every patient is outside of one model of each pair.

    Args:
        crowd: whose images.
        recipe: of the models.
        runtime: the machine.
        pairs: of models, at least 1.
        seed: of halves and training.
        on_step: called after each step, or each model of a method without steps.

    Raises:
        NonFiniteError: training diverged.
        TooFewImagesError: too few for a method without gradient steps.
    """
    total = np.zeros(len(crowd.images))
    for pair in range(pairs):
        first = _half(crowd, derive_seed(seed, "half", pair))
        for place, inside in enumerate((first, ~first)):
            own = derive_seed(seed, "reference", pair, place)
            method = recipe.trained(_Some(crowd.images, np.flatnonzero(inside)), runtime, own, on_step)
            found = confidences(method, crowd.images, recipe.training.batch_size, runtime.device)
            total[~inside] += found[~inside]
    return total / pairs


@dataclass(frozen=True)
class _Some:
    """Some images of others."""

    source: Images
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def images(self, indices: Sequence[int]) -> Tensor:
        return self.source.images(self.indices[list(indices)].tolist())


def _half(crowd: Crowd, seed: int) -> BoolArray:
    """Images of half of the patients trained on and of half of the others, (N,)."""
    draws, chosen = np.random.default_rng(seed), np.zeros(len(crowd.in_training), bool)
    for group in (np.flatnonzero(crowd.in_training), np.flatnonzero(~crowd.in_training)):
        chosen[draws.permutation(group)[: len(group) // 2]] = True
    found: BoolArray = chosen[crowd.codes]
    return found
