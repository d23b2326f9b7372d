"""What every method offers, whichever way it learns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ra_core.errors import NonFiniteError
from ra_core.losses import squared_error
from ra_core.models.adam import Adam
from ra_core.rng import generator
from ra_core.scoring import DISTANCE_SCORINGS, SCORINGS, Scorer, ScoringConfig

__all__ = [
    "Detector",
    "FittedMethod",
    "GradientMethod",
    "Images",
    "Method",
    "Reconstruction",
    "StepState",
    "Turn",
    "laid_out_as",
]


class Images(Protocol):
    """Preprocessed images by index; `ra_core.data.ImageSet` is one."""

    def __len__(self) -> int:
        """How many images there are."""
        ...

    def images(self, indices: Sequence[int]) -> Tensor:
        """Float32 (N, 1, H, W) in [0, 1]."""
        ...


@dataclass(frozen=True)
class StepState:
    """What a training step may use beside its batch.

    Attributes:
        step: on the model's path, from 0.
        seed: of noise.
        optimizers: by name.
        autocast: context of forward passes.
        device: where the model is.
        proximal_mu, anchors: FedProx's weight and the global model's parameters (Li et al. 2020, MLSys); empty without.
    """

    step: int
    seed: int
    optimizers: Mapping[str, Optimizer]
    autocast: Callable[[], AbstractContextManager[object]]
    device: torch.device
    proximal_mu: float = 0.0
    anchors: Mapping[nn.Parameter, Tensor] = field(default_factory=dict)

    def noise(self, name: str, *shape: int) -> Tensor:
        """Standard normal noise that depends on seed, step and name alone."""
        draws = torch.randn(*shape, generator=generator(self.seed, "noise", name, self.step))
        return draws.to(self.device)

    def set_rate(self, rate: float) -> None:
        """Give all optimizers this learning rate."""
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate

    def check(self, **terms: Tensor) -> None:
        """Stop where a loss term is NaN or infinite.

        Raises:
            NonFiniteError: names the first bad term and the step.
        """
        for name, value in terms.items():
            if not torch.isfinite(value).all():
                raise NonFiniteError(
                    f"loss term '{name}' is not finite at step {self.step}",
                    "lower the learning rate, or raise w_neg if KL ran away, and give a new --out",
                )

    def descend(self, name: str, loss: Tensor, *names: str, keep_graph: bool = False) -> None:
        """One step of the named optimizers down `loss`; no other parameter gets a gradient.

        Args:
            name: of the loss.
            loss: a scalar.
            names: of the optimizers.
            keep_graph: whether a part of the loss's graph is needed once more.

        Raises:
            NonFiniteError: the loss or a gradient is not finite; no parameter was changed.
        """
        self.check(**{name: loss})
        parameters = self.parameters(*names)
        if not parameters:  # all of them are frozen
            return
        gradients = torch.autograd.grad(loss, parameters, retain_graph=keep_graph)
        self.check(**{f"gradient of {name}": torch.nn.utils.get_total_norm(gradients)})
        self.follow(gradients, *names)

    def parameters(self, *names: str) -> list[nn.Parameter]:
        """What the named optimizers move."""
        return [p for name in names for group in self.optimizers[name].param_groups for p in group["params"]]

    def follow(self, gradients: Sequence[Tensor], *names: str) -> None:
        """One step of the named optimizers along gradients of `parameters(*names)`, and FedProx's."""
        for parameter, gradient in zip(self.parameters(*names), gradients, strict=True):
            pulled = gradient + self.proximal_mu * self._drift(parameter) if self.anchors else gradient
            parameter.grad = laid_out_as(parameter, pulled)
        for name in names:
            self.optimizers[name].step()
            self.optimizers[name].zero_grad()

    def _drift(self, parameter: nn.Parameter) -> Tensor:
        """How far a parameter is from the global model's: FedProx's gradient, but for its weight."""
        return parameter.detach() - self.anchors[parameter]


class Turn(NamedTuple):
    """One of the gradient steps that a whole step is made of, in a form in which each patient stands alone.

    Attributes:
        name: of its loss.
        parts: whose optimizers take it.
        rate: learning rate.
        loss: of (N, 1, H, W) in [0, 1] and a state that gives the noise -> scalar, and terms by name. Of an image alone
            it is that image's, and no image may change another's.
    """

    name: str
    parts: tuple[str, ...]
    rate: float
    loss: Callable[[Tensor, StepState], tuple[Tensor, dict[str, Tensor]]]


def laid_out_as(parameter: Tensor, tensor: Tensor) -> Tensor:
    """The same values, in memory as the parameter's lie: a fused optimizer reads them side by side, whatever strides.

    What has another shape, as a count of steps, stays as it is.
    """
    if tensor.shape != parameter.shape or tensor.stride() == parameter.stride():
        return tensor
    return torch.empty_like(parameter).copy_(tensor)


class Method(nn.Module, ABC):
    """A method that tells the healthy from what isn't.

    How it looks at an image: a `Reconstruction` or a `Detector`. How it learns: a `GradientMethod` or a `FittedMethod`.
    Each method is one of both.
    """

    memorises: ClassVar[bool] = False
    """Whether it knows training images by heart: then its maps of them say nothing about healthy images."""
    scorings: ClassVar[tuple[ScoringConfig, ...]]
    """What its maps can be scored with."""
    localises: ClassVar[bool] = True
    """Whether its maps say where; a map that is the same everywhere is a number in disguise."""

    @abstractmethod
    def maps(self, x: Tensor, scorer: Scorer, scorings: Iterable[ScoringConfig]) -> dict[str, Tensor]:
        """Anomaly maps by scoring name, before standardising, each (N, 1, H, W) float32, at least 0.

        Deterministic, and each image by itself.
        """

    @abstractmethod
    def healthy_error(self, x: Tensor) -> Tensor:
        """How badly each healthy image is explained: (N, 1, H, W) -> (N,), at least 0, less is better. Deterministic.

        The weights with the smallest mean over healthy validation images are chosen.
        """

    @abstractmethod
    def shared_parts(self) -> dict[str, nn.Module]:
        """The parts that a federation may exchange and a model file holds, by name."""

    def ready_for_selection(self, step: int) -> bool:  # noqa: ARG002
        """Whether the weights after `step` steps may be chosen as the final model."""
        return True

    def renew(self) -> None:
        """Forget what was computed from the shared tensors: they have changed."""


class Reconstruction(Method):
    """A method that turns an image into its pseudo-healthy twin."""

    scorings = SCORINGS

    @abstractmethod
    def reconstruct(self, x: Tensor) -> Tensor:
        """Pseudo-healthy twin of x, deterministic: (N, 1, H, W) in [0, 1] -> the same."""

    def compared(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image as the method sees it and its pseudo-healthy twin: (N, 1, H, W) -> two of the same."""
        return x, self.reconstruct(x)

    def maps(self, x: Tensor, scorer: Scorer, scorings: Iterable[ScoringConfig]) -> dict[str, Tensor]:
        """What differs between an image and its twin."""
        return scorer.maps(*self.compared(x), scorings)

    def healthy_error(self, x: Tensor) -> Tensor:
        """Mean squared error per pixel."""
        return squared_error(self.reconstruct(x), x)


class Detector(Method):
    """A method that measures how far from healthy each place of an image is."""

    scorings = DISTANCE_SCORINGS

    @abstractmethod
    def distance(self, x: Tensor) -> Tensor:
        """Distance from healthy, deterministic: (N, 1, H, W) in [0, 1] -> (N, 1, H, W), at least 0."""

    def maps(self, x: Tensor, scorer: Scorer, scorings: Iterable[ScoringConfig]) -> dict[str, Tensor]:
        """The distance itself."""
        return scorer.distance_maps(self.distance(x), scorings)

    def healthy_error(self, x: Tensor) -> Tensor:
        """Mean distance."""
        return self.distance(x).flatten(1).mean(1)


class GradientMethod(Method):
    """A method that learns by steps of gradient descent."""

    memory_format: torch.memory_format = torch.contiguous_format
    """How images and weights lie in memory; channels-last where a method gains from it."""

    @abstractmethod
    def optimizers(self) -> dict[str, Optimizer]:
        """Fresh optimizers by name."""

    def adams(self, **settings: Any) -> dict[str, Optimizer]:
        """One Adam for each part, by the part's name; `settings` are those of torch's.

        Fused, the update takes a third of the time on a processor, which counts where a model is small.
        """
        return {name: Adam(part.parameters(), fused=True, **settings) for name, part in self.shared_parts().items()}

    @abstractmethod
    def training_step(self, batch: Tensor, state: StepState) -> dict[str, float]:
        """One whole step on (N, 1, H, W) in [0, 1], alternation included; returns its loss terms by name.

        Raises:
            NonFiniteError: a term is NaN or infinite.
        """

    def turns(self, step: int) -> tuple[Turn, ...]:
        """The step as differential privacy takes it, in order; its settings' `releases` counts them.

        Raises:
            ValueError: the method has no such form.
        """
        raise ValueError(f"step {step}: this method can't be trained with differential privacy")


class FittedMethod(Method):
    """A method computed in one pass over the healthy training images, without gradient steps.

    Where its shared tensors are means over images (moments), a weighted mean of several sites' tensors is what all
    their images together would have given: one round of federated averaging is exact, up to the rounding of updates.
    """

    @abstractmethod
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take in all training images, batches of (N, 1, H, W) in [0, 1].

        Raises:
            ValueError: there are too few of them, or nothing to learn from.
        """

    def ready_for_selection(self, step: int) -> bool:
        """Its only step is the pass."""
        return step > 0
