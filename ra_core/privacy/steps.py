"""A training step of which each patient has a bounded part, under noise.

For each turn of the step (`Turn`): every patient is drawn by itself with the same chance (Poisson sampling), one of its
images at random; their gradients, bounded one by one, are summed, noise is added on every weight, and the optimizer
follows the sum over `batch_size`. That divisor is a setting, so that it tells nothing of how many were drawn.

Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, arXiv 1607.00133, algorithm 1; with patients in place
of images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ra_core.errors import ConfigError
from ra_core.models.method import GradientMethod, StepState, Turn
from ra_core.privacy.gradients import Bounded, bounded_sum
from ra_core.privacy.randomness import Randomness
from ra_core.privacy.settings import PrivacyConfig

__all__ = ["Draw", "PrivateSteps", "require_apart"]

Draw = Callable[[Sequence[int], Callable[[int, int], Tensor]], Tensor]
"""Images by index, changed by uniform numbers in [0, 1] of a shape: (N, 1, H, W) in [0, 1] on the method's device."""

TOGETHER = 16
"""Images looked at together, at most: each has a gradient of its own in memory, and a study must not exhaust it."""


@dataclass(frozen=True)
class PrivateSteps:
    """Steps with differential privacy.

    Attributes:
        patients: of each, the indices of its images, at least one.
        config: clipping norm and chance of a patient.
        noise_multiplier: spread of the noise over the clipping norm.
        batch_size: what a sum is divided by.
        randomness: of patients, images, their augmentation, and noise.
    """

    patients: Sequence[Sequence[int]]
    config: PrivacyConfig
    noise_multiplier: float
    batch_size: int
    randomness: Randomness

    def step(self, method: GradientMethod, draw: Draw, state: StepState) -> dict[str, float]:
        """One step; the value are means of loss terms over the patients drawn, which no noise covers; none of nobody.

        Raises:
            NonFiniteError: the noisy gradient is not finite; no parameter was changed in this turn.
        """
        terms: dict[str, float] = {}
        for turn in method.turns(state.step):
            state.set_rate(turn.rate)
            terms |= self._take(turn, method, draw, state)
        return terms

    def _take(self, turn: Turn, method: GradientMethod, draw: Draw, state: StepState) -> dict[str, float]:
        drawn = self.drawn()
        chunks = [
            self._bounded(turn, method, draw(drawn[start : start + TOGETHER], self._uniform), state)
            for start in range(0, len(drawn), TOGETHER)
        ]
        moved = {id(p) for p in state.parameters(*turn.parts)}
        named = {id(p): name for name, p in method.named_parameters() if id(p) in moved}
        gradients = []
        for parameter in state.parameters(*turn.parts):
            parts = [chunk.sums[named[id(parameter)]].cpu() for chunk in chunks]
            total = sum(parts, torch.zeros(parameter.shape, dtype=torch.float64))
            gradients.append(self.noisy(total).to(parameter.device, parameter.dtype))
        state.check(**{f"gradient of {turn.name}": torch.nn.utils.get_total_norm(gradients)})
        state.follow(gradients, *turn.parts)
        return _means(chunks)

    def drawn(self) -> list[int]:
        """An image of each patient that a Poisson draw takes; perhaps of none."""
        chances = self.randomness.uniform(len(self.patients))
        taken = [images for images, u in zip(self.patients, chances, strict=True) if u < self.config.sampling_rate]
        return [images[self.randomness.below(len(images))] for images in taken]

    def noisy(self, total: Tensor) -> Tensor:
        """A sum, float64 of any shape, with noise, over the batch size."""
        noise = torch.from_numpy(self.randomness.normal(total.numel())).reshape(total.shape)
        return (total + self.noise_multiplier * self.config.clip_norm * noise) / self.batch_size

    def _uniform(self, *shape: int) -> Tensor:
        return torch.from_numpy(self.randomness.uniform(*shape)).float()

    def _bounded(self, turn: Turn, method: GradientMethod, x: Tensor, state: StepState) -> Bounded:
        return bounded_sum(method, turn, x, state, self.config.clip_norm, self.randomness)


def require_apart(method: GradientMethod) -> None:
    """Refuse a method with layers that mix the images of a batch, as Opacus' validator finds them.

    Raises:
        ConfigError: there is one; names its kind.
    """
    from opacus.validators import ModuleValidator  # noqa: PLC0415 - seconds, which only a private study costs

    mixing = [
        type(layer).__name__
        for layer in method.train().modules()
        if type(layer) in ModuleValidator.VALIDATORS and ModuleValidator.VALIDATORS[type(layer)](layer)
    ]
    if mixing:
        raise ConfigError(
            f"dp: {mixing[0]} ({len(mixing)} such layers) makes of an image what depends on the other patients of its "
            "batch",
            "set method.norm to group or frozen_batch",
        )


def _means(chunks: Sequence[Bounded]) -> dict[str, float]:
    names = chunks[0].terms if chunks else {}
    found = {name: torch.cat([chunk.terms[name] for chunk in chunks]) for name in names}
    return {name: float(values.mean()) for name, values in found.items() if len(values)}
