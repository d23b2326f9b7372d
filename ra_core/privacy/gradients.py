"""The part of each patient in a sum of gradients, bounded.

Each image's gradient is computed as if it were the only one (`torch.func.vmap` over a function of one image), so that
no term of a loss, no layer and no noise can mix patients, whatever a method's code does: what belongs to a patient are
all passes of its turn (real, reconstructed and sampled images), clipped together, once. Nothing is hooked or frozen.
"""

from __future__ import annotations

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
        randomness: seeds the noise of latents.
    """
    gradients, terms = each_gradient(method, turn, x, state, randomness)
    wide = {name: g.flatten(1).double() for name, g in gradients.items()}
    norms = torch.stack([g.square().sum(1) for g in wide.values()]).sum(0).sqrt()  # (N,)
    finite = norms.isfinite()
    factors = torch.where(finite, (clip_norm / norms.clamp_min(1e-12)).clamp_max(1.0), 0.0)
    sums = {
        name: (factors @ g.nan_to_num(0.0, 0.0, 0.0)).reshape(gradients[name].shape[1:]) for name, g in wide.items()
    }
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
        randomness: seeds the noise of latents.
    """
    alone = _Alone(method, turn, _OwnNoise.of(state))
    moved = {id(parameter) for parameter in state.parameters(*turn.parts)}
    parameters = {name: p.detach() for name, p in alone.named_parameters() if id(p) in moved}

    def loss(given: Gradients, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        found: tuple[Tensor, dict[str, Tensor]] = functional_call(alone, given, (image,))
        return found

    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(randomness.generator().initial_seed())
        one = grad_and_value(loss, has_aux=True)
        gradients, (values, terms) = vmap(one, in_dims=(None, 0), randomness="different")(parameters, x.unsqueeze(1))
    named = {name.removeprefix("method."): gradient for name, gradient in gradients.items()}
    return named, {turn.name: values} | {name: term.reshape(len(x), -1).mean(1) for name, term in terms.items()}


class _Alone(nn.Module):
    """A turn's loss as a function of a method's parameters."""

    def __init__(self, method: GradientMethod, turn: Turn, state: StepState) -> None:
        super().__init__()
        self.method = method
        self._turn, self._state = turn, state

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and terms of (1, 1, H, W)."""
        loss, terms = self._turn.loss(x, self._state)
        return loss, {name: term.detach() for name, term in terms.items()}


class _OwnNoise(StepState):
    """Noise that an image has for itself: what a place in the batch decides would depend on who else is in it."""

    @classmethod
    def of(cls, state: StepState) -> _OwnNoise:
        """In float32 whatever the machine's precision."""
        return cls(state.step, state.seed, state.optimizers, nullcontext, state.device)

    def noise(self, name: str, *shape: int) -> Tensor:  # noqa: ARG002
        """Standard normal."""
        return torch.randn(*shape).to(self.device)
