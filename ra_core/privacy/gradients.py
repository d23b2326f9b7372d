"""The part of each patient in a sum of gradients, bounded.

Each image's gradient is computed as if it were the only one (`torch.func.vmap` over a function of one image), so that
no term of a loss, no layer and no noise can mix patients, whatever a method's code does: what belongs to a patient are
all passes of its turn (real, reconstructed and sampled images), clipped together, once. Nothing is hooked or frozen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from ra_core.models.method import GradientMethod, StepState, Turn
from ra_core.privacy.randomness import Randomness

__all__ = ["Bounded", "bounded_sum", "each_gradient"]

Gradients = dict[str, Tensor]
"""By the parameter's name; of several images, with one more dimension in front."""


@dataclass(frozen=True)
class Bounded:
    """What some patients give.

    Attributes:
        sums: of their clipped gradients, float64, by the parameter's name.
        terms: of the loss, one an image, by name.
    """

    sums: Gradients
    terms: dict[str, Tensor]


def bounded_sum(
    method: GradientMethod, turn: Turn, x: Tensor, state: StepState, clip_norm: float, randomness: Randomness
) -> Bounded:
    """Sum of each image's gradient, shortened to `clip_norm` where it is longer, over all that the turn moves.

    A gradient that is not finite adds nothing: stopping for it would tell of its patient.

    Args:
        method: in training mode.
        turn: of its step.
        x: one image of each patient, (N, 1, H, W) in [0, 1], N from 1.
        state: of the step.
        clip_norm: largest L2 norm of a patient's part, above 0.
        randomness: of the noise of latents.
    """
    gradients, terms = each_gradient(method, turn, x, state, randomness)
    norms = torch.stack([_norm([g[image] for g in gradients.values()]) for image in range(len(x))])  # (N,)
    finite = norms.isfinite()
    factors = (clip_norm / norms.clamp_min(1e-12)).clamp_max(1.0).tolist()
    sums = {name: torch.zeros(g.shape[1:], dtype=torch.float64, device=g.device) for name, g in gradients.items()}
    for image in finite.nonzero().flatten().tolist():
        for name, total in sums.items():  # no float64 copy of all images at once: it took a third of a step
            total.add_(gradients[name][image], alpha=factors[image])
    return Bounded(sums, {name: values[finite] for name, values in terms.items()})


def each_gradient(
    method: GradientMethod, turn: Turn, x: Tensor, state: StepState, randomness: Randomness
) -> tuple[Gradients, dict[str, Tensor]]:
    """Gradient of the turn's loss of each image alone, (N, *shape) each in float32; and its terms, (N,) each.

    Args:
        method: in training mode.
        turn: of its step.
        x: images, (N, 1, H, W) in [0, 1], N from 1.
        state: of the step.
        randomness: of the noise of latents.
    """
    count = len(x)
    alone = _Alone(method, turn, state, randomness, count)
    moved = {id(parameter) for parameter in state.parameters(*turn.parts)}
    parameters = {name: p.detach() for name, p in alone.named_parameters() if id(p) in moved}

    def loss(given: Gradients, image: Tensor, place: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        found: tuple[Tensor, dict[str, Tensor]] = functional_call(alone, given, (image, place))
        return found

    places = torch.arange(count, device=x.device).unsqueeze(1)
    with torch.no_grad():
        each = vmap(grad_and_value(loss, has_aux=True), in_dims=(None, 0, 0))
        gradients, (values, terms) = each(parameters, x.unsqueeze(1), places)
    named = {name.removeprefix("method."): gradient for name, gradient in gradients.items()}
    return named, {turn.name: values} | {name: term.reshape(len(x), -1).mean(1) for name, term in terms.items()}


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    """L2 norm of all together, a float64 scalar."""
    norms = torch.stack([torch.linalg.vector_norm(tensor, dtype=torch.float64) for tensor in tensors])
    whole: Tensor = torch.linalg.vector_norm(norms)
    return whole


class _Alone(nn.Module):
    """A turn's loss as a function of a method's parameters and of one of several images."""

    def __init__(
        self, method: GradientMethod, turn: Turn, state: StepState, randomness: Randomness, count: int
    ) -> None:
        super().__init__()
        self.method = method
        self._turn, self._state, self._randomness, self._count = turn, state, randomness, count

    def forward(self, x: Tensor, place: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and terms of (1, 1, H, W), the image at a place, (1,)."""
        loss, terms = self._turn.loss(x, _OwnNoise.of(self._state, self._randomness, self._count, place))
        return loss, {name: term.detach() for name, term in terms.items()}


@dataclass(frozen=True, kw_only=True)
class _OwnNoise(StepState):
    """What one of several images sees of a step: noise of its own, independent of the others'.

    So a sum's parts don't change with who else is drawn; noise by place and seed would move with one patient more.

    Attributes:
        randomness: of the noise.
        count: of the images.
        place: of this one among them, (1,); mapped over.
    """

    randomness: Randomness
    count: int
    place: Tensor

    @classmethod
    def of(cls, state: StepState, randomness: Randomness, count: int, place: Tensor) -> _OwnNoise:
        """In float32 whatever the machine's precision."""
        shared = (state.step, state.seed, state.optimizers, nullcontext, state.device)
        return cls(*shared, randomness=randomness, count=count, place=place)

    def noise(self, name: str, *shape: int) -> Tensor:  # noqa: ARG002
        """Standard normal: drawn for all images at once, of which this one has its row."""
        drawn = torch.from_numpy(self.randomness.normal(self.count * math.prod(shape))).float()
        return drawn.reshape(self.count, *shape).to(self.device).index_select(0, self.place).squeeze(0)
