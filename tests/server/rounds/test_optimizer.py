"""The server's optimizer against Flower's strategies, and what it refuses."""

import math

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam, FedAvgM
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given, settings
from hypothesis import strategies as st

from ra_core.config import ServerOptimizerConfig
from ra_core.fixed_point import WeightedSum, encode
from server.rounds.optimizer import start, step

SHAPES = {"decoder.b": (4,), "encoder.w": (3, 2)}

NAMES = ["none", "momentum", "adam"]


@pytest.fixture
def a_task(monkeypatch):
    """Flower makes messages only within a task."""
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


def normal(rng, scale=1.0):
    return {name: rng.normal(scale=scale, size=shape) for name, shape in SHAPES.items()}


def first_model(rng):
    return {name: array.astype(np.float32) for name, array in normal(rng).items()}


def record(arrays):
    return ArrayRecord({name: Array(np.asarray(array, np.float64)) for name, array in arrays.items()})


def replies(arrays):
    """What Flower's strategies take: one site's model."""
    order = Message(RecordDict({"arrays": record(arrays)}), dst_node_id=1, message_type="train")
    content = RecordDict({"arrays": record(arrays), "metrics": MetricRecord({"num-examples": 5})})
    return [Message(content, reply_to=order)]


def with_flower(strategy, number, model, update):
    """Flower's new model, in float64."""
    arrays, _ = strategy.aggregate_train(number, replies({name: model[name] + update[name] for name in model}))
    return {name: array.numpy() for name, array in arrays.items()}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_none_adds_the_mean_update_bit_for_bit(seed):
    rng = np.random.default_rng(seed)
    model, total = first_model(rng), WeightedSum(SHAPES)
    for count in (3, 7, 50):
        total.add({name: encode(array) for name, array in normal(rng, 0.1).items()}, count)
    mean = total.mean()
    config = ServerOptimizerConfig()
    new, state = step(config, model, mean, start(config, model))
    assert state == {}
    for name, array in model.items():
        assert new[name].tobytes() == (array + mean[name]).astype(np.float32).tobytes()


def test_none_scales_the_update_by_the_learning_rate():
    rng = np.random.default_rng(0)
    model, update = first_model(rng), normal(rng)
    new, _ = step(ServerOptimizerConfig(learning_rate=0.25), model, update, {})
    for name in SHAPES:
        np.testing.assert_allclose(new[name], model[name] + 0.25 * update[name], rtol=1e-6)


@pytest.mark.usefixtures("a_task")
@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_momentum_is_flowers_fedavgm(rate):
    rng = np.random.default_rng(1)
    config = ServerOptimizerConfig(name="momentum", momentum=0.8, learning_rate=rate)
    strategy = FedAvgM(server_learning_rate=rate, server_momentum=0.8)
    model = first_model(rng)
    state = start(config, model)
    for number in range(1, 6):
        update = normal(rng, 0.1)
        strategy.current_arrays = record(model)
        expected = with_flower(strategy, number, model, update)
        model, state = step(config, model, update, state)
        for name in SHAPES:
            np.testing.assert_allclose(model[name], expected[name], rtol=1e-6, atol=1e-7)
    for velocity, name in zip(strategy.momentum_vector, SHAPES, strict=True):
        np.testing.assert_allclose(state[f"m.{name}"], -velocity, rtol=1e-12, atol=1e-14)  # theirs is of gradients


@pytest.mark.usefixtures("a_task")
def test_adam_is_flowers_fedadam_without_its_bias_correction():
    rng = np.random.default_rng(2)
    config = ServerOptimizerConfig(name="adam", learning_rate=0.01, momentum=0.9, beta2=0.99, tau=1e-3)
    strategy = FedAdam(beta_1=0.9, beta_2=0.99, tau=1e-3)
    strategy.v_t = {name: np.full(shape, 1e-6) for name, shape in SHAPES.items()}  # theirs begins at 0
    model = first_model(rng)
    state = start(config, model)
    for number in range(1, 6):
        update = normal(rng, 0.1)
        strategy.current_arrays = {name: array.astype(np.float64) for name, array in model.items()}
        strategy.eta = 0.01 * (1 - 0.9 ** (number + 1)) / math.sqrt(1 - 0.99 ** (number + 1))
        expected = with_flower(strategy, number, model, update)
        model, state = step(config, model, update, state)
        for name in SHAPES:
            np.testing.assert_allclose(model[name], expected[name], rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(state[f"m.{name}"], strategy.m_t[name], rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(state[f"v.{name}"], strategy.v_t[name], rtol=1e-12, atol=1e-14)


def test_adams_first_step_by_hand():
    config = ServerOptimizerConfig(name="adam", learning_rate=0.1, momentum=0.5, beta2=0.75, tau=0.5)
    model = {"w": np.array([1.0], np.float32)}
    new, state = step(config, model, {"w": np.array([2.0])}, start(config, model))
    assert state["m.w"] == 1.0
    assert state["v.w"] == 0.75 * 0.25 + 0.25 * 4
    assert new["w"][0] == np.float32(1 + 0.1 / (math.sqrt(1.1875) + 0.5))


@pytest.mark.parametrize("name", NAMES)
def test_a_step_gives_float32_remembers_float64_and_changes_nothing_given(name):
    rng = np.random.default_rng(3)
    config = ServerOptimizerConfig(name=name)
    model, update = first_model(rng), normal(rng)
    state = start(config, model)
    given_before = [{k: v.copy() for k, v in arrays.items()} for arrays in (model, update, state)]
    new, new_state = step(config, model, update, state)
    for arrays, before in zip((model, update, state), given_before, strict=True):
        assert {k: v.tobytes() for k, v in arrays.items()} == {k: v.tobytes() for k, v in before.items()}
    assert new.keys() == model.keys()
    assert new_state.keys() == state.keys()
    assert {array.dtype for array in new.values()} == {np.dtype(np.float32)}
    assert {array.dtype for array in new_state.values()} <= {np.dtype(np.float64)}


@pytest.mark.parametrize("name", NAMES)
def test_a_single_number_stays_an_array(name):
    config = ServerOptimizerConfig(name=name)
    model = {"w": np.array(1.0, np.float32)}
    new, state = step(config, model, {"w": np.array(0.5)}, start(config, model))
    new, state = step(config, new, {"w": np.array(0.5)}, state)
    assert all(isinstance(array, np.ndarray) and array.shape == () for array in [*new.values(), *state.values()])


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_a_state_that_was_lost_is_no_fresh_start(name):
    rng = np.random.default_rng(4)
    model = first_model(rng)
    with pytest.raises(ValueError, match="tensors of the state differ"):
        step(ServerOptimizerConfig(name=name), model, normal(rng), {})


def test_a_foreign_state_is_refused():
    rng = np.random.default_rng(5)
    model, update = first_model(rng), normal(rng)
    momentum, adam = ServerOptimizerConfig(name="momentum"), ServerOptimizerConfig(name="adam")
    with pytest.raises(ValueError, match="tensors of the state differ"):
        step(momentum, model, update, start(adam, model))
    with pytest.raises(ValueError, match="tensors of the state differ"):
        step(ServerOptimizerConfig(), model, update, start(momentum, model))


@pytest.mark.parametrize(
    "bad", [np.zeros(1), np.zeros((4, 1)), np.zeros(4, np.float32), np.full(4, np.nan), np.full(4, np.inf)]
)
@pytest.mark.parametrize("what", ["update", "state"])
def test_arrays_that_do_not_fit_are_refused(what, bad):
    rng = np.random.default_rng(6)
    config = ServerOptimizerConfig(name="momentum")
    model, update = first_model(rng), normal(rng)
    state = start(config, model)
    {"update": update, "state": state}[what]["decoder.b" if what == "update" else "m.decoder.b"] = bad
    with pytest.raises(ValueError, match=f"decoder.b' of the {what}"):
        step(config, model, update, state)


def test_a_model_beyond_float32_is_refused():
    model = {"w": np.ones(1, np.float32)}
    with pytest.raises(ValueError, match="'w' beyond what float32 holds"):
        step(ServerOptimizerConfig(learning_rate=1e300), model, {"w": np.full(1, 8.0)}, {})
