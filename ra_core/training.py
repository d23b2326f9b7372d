"""Some steps of a gradient method on some images of one site; no idea of rounds.

A trainer's whole state is `tensors()` and `facts()`. Batches, augmentation and noise depend on the seed and the step
alone, so a trainer restored at step k goes on exactly as the one that wrote it would have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ra_core.config import AugmentationConfig, TrainingConfig
from ra_core.errors import NonFiniteError, TooFewImagesError
from ra_core.models.method import GradientMethod, Images, Method, StepState, laid_out_as
from ra_core.privacy.steps import PrivateSteps, require_apart
from ra_core.rng import generator
from ra_core.runtime import Runtime

__all__ = ["LocalTrainer", "augment", "validation_error"]

Row = dict[str, float]


class LocalTrainer:
    """Trains a method in place.

    Args:
        method: what is trained; moved to the runtime's device.
        train: healthy training images.
        val: healthy validation images, on which the weights to keep are chosen.
        config: steps, batch size and the like.
        runtime: device and precision.
        seed: of batches, augmentation and noise.
        start_step: steps that the method has behind it.
        proximal_mu: weight of a pull towards the weights that training starts from (FedProx); 0 is none.
        frozen: parameters that stay as they are; layers of such alone keep their running statistics too.
        private: how a step is taken with differential privacy; its draws are never repeated, so nothing is restored to
            the same bits. None is without.

    Attributes:
        step: steps done.
        history: loss terms of every step that reached a multiple of 20, and validation errors.

    Raises:
        TooFewImagesError: there is no training or no validation image.
        ConfigError: with differential privacy, the method has layers that mix patients.
    """

    def __init__(
        self,
        method: GradientMethod,
        train: Images,
        val: Images,
        config: TrainingConfig,
        runtime: Runtime,
        seed: int,
        start_step: int = 0,
        proximal_mu: float = 0.0,
        frozen: Set[nn.Parameter] = frozenset(),
        private: PrivateSteps | None = None,
    ) -> None:
        if not len(train) or not len(val):
            raise TooFewImagesError(
                f"{len(train)} training and {len(val)} validation images: at least one of each is needed",
                "check the manifest's splits",
            )
        self.method = method.to(runtime.device)
        self.train, self.val = train, val
        self.config, self.runtime, self.seed = config, runtime, seed
        self.private = private
        if private:
            require_apart(method)
        self.step = start_step
        self.proximal_mu = proximal_mu
        self.anchors = {p: p.detach().clone() for p in method.parameters()} if proximal_mu else {}
        self.history: list[Row] = []
        self.optimizers = method.optimizers()
        for group in (group for optimizer in self.optimizers.values() for group in optimizer.param_groups):
            group["params"] = [parameter for parameter in group["params"] if parameter not in frozen]
        self._frozen_layers = [layer for layer in method.modules() if _all_in(layer, frozen)]
        self.average = _copy(self._parameters()) if config.ema_decay else {}
        self.best: dict[str, Tensor] = {}
        self.best_error = float("inf")
        self.best_step = 0

    def run(
        self,
        until: int,
        on_step: Callable[[LocalTrainer, Row], None] | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train until `until` steps are done or `stop()` is true, which is asked between steps only.

        `on_step` is called after each step with the trainer and the step's terms.

        Raises:
            NonFiniteError: a loss term, gradient or weight is not finite. The weights are those before that step.
        """
        self._to_training()
        while self.step < until and not stop():
            terms = self._one_step()
            if self.step % self.config.validate_every == 0 or self.step == self.config.steps:
                terms |= {"validation_error": self._validate()}
            if self.step % 20 == 0 or "validation_error" in terms:
                self.history.append({"step": self.step} | terms)
            if on_step:
                on_step(self, terms)

    def select_best(self) -> None:
        """Load the weights with the lowest error on healthy validation images.

        Raises:
            ValueError: no weights could be selected yet.
        """
        if not self.best:
            raise ValueError(f"no weights could be selected within {self.step} steps")
        self.method.load_state_dict(self.best)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the trainer's state, by name."""
        named = {f"method/{k}": v for k, v in self.method.state_dict().items()}
        named |= {f"average/{k}": v for k, v in self.average.items()}
        named |= {f"best/{k}": v for k, v in self.best.items()}
        return named | self.optimizer_tensors()

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """The state of the optimizers alone, by "optimizer/…"."""
        named: dict[str, Tensor] = {}
        for part, optimizer in self.optimizers.items():
            for index, entries in optimizer.state_dict()["state"].items():
                named |= {f"optimizer/{part}/{index}/{k}": v for k, v in entries.items()}
        return named

    def facts(self) -> dict[str, Any]:
        """The rest of the state, fit for JSON."""
        best_error = self.best_error if self.best else None
        return {"step": self.step, "history": self.history, "best_error": best_error, "best_step": self.best_step}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go back to a state that `tensors()` and `facts()` gave.

        Raises:
            KeyError, RuntimeError: the state is of another method.
        """
        self.method.load_state_dict(_under("method/", tensors))
        average = _under("average/", tensors)
        self.average = {name: tensor.to(self.runtime.device) for name, tensor in average.items()}
        self.best = _under("best/", tensors)
        self.restore_optimizers(tensors)
        self.step, self.history = facts["step"], list(facts["history"])
        self.best_step = facts["best_step"]
        self.best_error = float("inf") if facts["best_error"] is None else facts["best_error"]

    def restore_optimizers(self, tensors: Mapping[str, Tensor]) -> None:
        """Go back to the state of the optimizers that `optimizer_tensors()` gave; other tensors are passed by.

        Raises:
            KeyError, RuntimeError: the state is of another method.
        """
        for part, optimizer in self.optimizers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in _under(f"optimizer/{part}/", tensors).items():
                index, entry = name.split("/")
                state.setdefault(int(index), {})[entry] = tensor
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
            for parameter, entries in optimizer.state.items():
                entries.update({entry: laid_out_as(parameter, tensor) for entry, tensor in entries.items()})

    def _to_training(self) -> None:
        self.method.train()
        for layer in self._frozen_layers:
            layer.eval()

    def _one_step(self) -> Row:
        before = _copy(self.method.state_dict())
        state = StepState(
            self.step,
            self.seed,
            self.optimizers,
            self.runtime.autocast,
            self.runtime.device,
            self.proximal_mu,
            self.anchors,
        )
        try:
            if self.private:
                terms = self.private.step(self.method, self._images, state)
            else:
                terms = self.method.training_step(self._batch(), state)
            state.check(weights=torch.nn.utils.get_total_norm(self.method.parameters()))
        except NonFiniteError:
            self.method.load_state_dict(before)
            raise
        self.step += 1
        for name, parameter in self._parameters().items() if self.config.ema_decay else ():
            self.average[name].lerp_(parameter, 1 - self.config.ema_decay)
        return terms

    def _batch(self) -> Tensor:
        """Images of this step: each epoch is a fresh permutation; what doesn't fill a batch is left out."""
        size = min(self.config.batch_size, len(self.train))
        epoch, place = divmod(self.step, len(self.train) // size)
        order = torch.randperm(len(self.train), generator=generator(self.seed, "batches", epoch))
        chosen = order[place * size : (place + 1) * size].tolist()
        draws = generator(self.seed, "augmentation", self.step)
        return self._images(chosen, partial(torch.rand, generator=draws))

    def _images(self, indices: Sequence[int], uniform: Callable[[int, int], Tensor]) -> Tensor:
        images = augment(self.train.images(indices), self.config.augmentation, uniform(len(indices), 5))
        return images.to(self.runtime.device, memory_format=self.method.memory_format)

    def _validate(self) -> float:
        """Validation error of the weights (their average, where one is kept), which are kept if they are the best."""
        parameters = self._parameters()
        trained = _copy(parameters)
        if self.average:
            _assign(parameters, self.average)
        error = validation_error(self.method, self.val, self.config.batch_size, self.runtime.device)
        self._to_training()
        if error < self.best_error and self.method.ready_for_selection(self.step):
            self.best, self.best_error, self.best_step = _copy(self.method.state_dict()), error, self.step
        _assign(parameters, trained)
        return error

    def _parameters(self) -> dict[str, Tensor]:
        return {name: parameter.data for name, parameter in self.method.named_parameters()}


def validation_error(method: Method, images: Images, batch_size: int, device: torch.device) -> float:
    """Mean `healthy_error` over all images, in float32; at least 0."""
    was_training = method.training
    method.eval()
    total = 0.0
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            x = images.images(range(start, min(start + batch_size, len(images)))).to(device)
            total += float(method.healthy_error(x).double().sum())
    method.train(was_training)
    return total / len(images)


def augment(x: Tensor, config: AugmentationConfig, uniform: Tensor) -> Tensor:
    """Rotate, shift, scale and perhaps mirror each image by its random numbers, with 0 outside.

    Args:
        x: (N, 1, S, S), as the value.
        config: how much of each.
        uniform: in [0, 1], (N, 5).
    """
    u = uniform * 2 - 1
    angle = torch.deg2rad(u[:, 0] * config.rotate_degrees)
    zoom = 1 + u[:, 1] * config.scale
    mirror = torch.where((u[:, 4] < 0) & config.flip, -1.0, 1.0)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    shift = 2 * config.shift * u[:, 2:4]  # grid coordinates span 2
    theta = torch.stack([cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]], 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _all_in(layer: nn.Module, frozen: Set[nn.Parameter]) -> bool:
    """Whether a layer has parameters of its own and all are frozen."""
    own = list(layer.parameters(recurse=False))
    return bool(own) and all(parameter in frozen for parameter in own)


def _copy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _assign(targets: Mapping[str, Tensor], sources: Mapping[str, Tensor]) -> None:
    for name, target in targets.items():
        target.copy_(sources[name])


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
