"""The server's optimizer: how the sites' mean update moves the global model (Reddi et al. 2021).

The mean update stands for a negative gradient. Everything is computed in float64, weight by weight, and the new model
is rounded once to float32; what the optimizer remembers stays float64, for the checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ra_core.config import ServerOptimizerConfig
from server.rounds.progress import Model

__all__ = ["State", "start", "step"]

Arrays = Mapping[str, NDArray[np.float64]]

State = dict[str, NDArray[np.float64]]
"""What is remembered between rounds: "m.TENSOR" the mean of the updates, "v.TENSOR" of their squares."""


def start(config: ServerOptimizerConfig, model: Model) -> State:
    """The state before the first round; empty where nothing is remembered.

    Adam's squares begin at τ², the least that the paper allows.
    """
    first = {"m": 0.0, "v": config.tau**2}
    return {name: np.full(shape, first[name[0]]) for name, shape in _state_shapes(config, model).items()}


def _state_shapes(config: ServerOptimizerConfig, model: Model) -> dict[str, tuple[int, ...]]:
    kinds = {"none": "", "momentum": "m", "adam": "mv"}[config.name]
    return {f"{kind}.{name}": array.shape for kind in kinds for name, array in model.items()}


def step(config: ServerOptimizerConfig, model: Model, update: Arrays, state: Arrays) -> tuple[Model, State]:
    """One round's step. Nothing given is changed.

    - none: x + lr · Δ; with a learning rate of 1 the received model plus the mean update.
    - momentum (FedAvgM, Hsu et al. 2019): m ← β₁ m + Δ, x + lr · m.
    - adam (FedAdam): m ← β₁ m + (1 − β₁) Δ, v ← β₂ v + (1 − β₂) Δ², x + lr · m / (√v + τ). As in the paper there is no
      bias correction, so the first steps are short.

    Args:
        config: which optimizer, and its constants.
        model: that the sites received.
        update: their mean update, by the same names.
        state: of the round before, or from `start`.

    Raises:
        ValueError: update or state don't fit the model, or a weight of the new model is not finite.
    """
    _require("update", update, {name: array.shape for name, array in model.items()})
    _require("state", state, _state_shapes(config, model))
    # As arrays: numpy turns the result into a plain number where there is one weight without dimensions.
    new_state = {name: np.asarray(array) for name, array in _remembered(config, update, state).items()}
    new_model = {}
    for name, array in model.items():
        direction = _direction(config, name, update, new_state)
        with np.errstate(over="ignore"):  # told below, by name
            new_model[name] = np.asarray(array + config.learning_rate * direction, np.float32)
        if not np.isfinite(new_model[name]).all():
            raise ValueError(f"the server's optimizer takes '{name}' beyond what float32 holds")
    return new_model, new_state


def _remembered(config: ServerOptimizerConfig, update: Arrays, state: Arrays) -> State:
    beta1, beta2 = config.momentum, config.beta2
    if config.name == "none":
        return {}
    if config.name == "momentum":
        return {f"m.{name}": beta1 * state[f"m.{name}"] + delta for name, delta in update.items()}
    means = {f"m.{name}": beta1 * state[f"m.{name}"] + (1 - beta1) * delta for name, delta in update.items()}
    squares = {f"v.{name}": beta2 * state[f"v.{name}"] + (1 - beta2) * delta**2 for name, delta in update.items()}
    return means | squares


def _direction(config: ServerOptimizerConfig, name: str, update: Arrays, state: Arrays) -> NDArray[np.float64]:
    if config.name == "none":
        return update[name]
    if config.name == "momentum":
        return state[f"m.{name}"]
    return state[f"m.{name}"] / (np.sqrt(state[f"v.{name}"]) + config.tau)


def _require(what: str, arrays: Arrays, shapes: Mapping[str, tuple[int, ...]]) -> None:
    if arrays.keys() != shapes.keys():
        raise ValueError(f"tensors of the {what} differ: {sorted(arrays.keys() ^ shapes.keys())[:3]}")
    for name, array in arrays.items():
        if array.dtype != np.float64 or array.shape != shapes[name]:
            raise ValueError(f"'{name}' of the {what} is {array.dtype} {array.shape}, not float64 {shapes[name]}")
        if not np.isfinite(array).all():
            raise ValueError(f"'{name}' of the {what} holds NaN or infinity")
