"""A patient's part: its own gradient, as if it were alone, no longer than the norm."""

import math
from dataclasses import replace

import pytest
import torch
from private import METHODS, Rows, Seeded, build

from ra_core.privacy import gradients
from ra_core.privacy.gradients import bounded_sum, each_gradient

TURNS = [(name, step) for name in METHODS for step in (0, 5)]


def images(n=3):
    return torch.rand(n, 1, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "step"), TURNS)
def test_each_gradient_is_that_of_an_image_alone(name, step):
    method, state = build(name, step)
    x = images()
    for turn in method.turns(step):
        found, terms = each_gradient(method, turn, x, state, Rows(0, 1, 2))
        parameters = {n: p for n, p in method.named_parameters() if n.startswith(turn.parts)}
        assert found.keys() == parameters.keys()
        for place in range(len(x)):
            alone = gradients._OwnNoise.of(state, Rows(place), 1, torch.tensor([0]))
            loss, _ = turn.loss(x[place : place + 1], alone)
            expected = torch.autograd.grad(loss, list(parameters.values()))
            assert float(terms[turn.name][place]) == pytest.approx(float(loss.detach()), rel=1e-4)
            for (key, parameter), gradient in zip(parameters.items(), expected, strict=True):
                assert found[key].dtype == torch.float32
                assert found[key].shape[1:] == parameter.shape
                torch.testing.assert_close(found[key][place], gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_who_else_is_there_and_where_changes_nothing_of_a_patients_part(name):
    method, state = build(name)
    for turn in method.turns(5):
        together, _ = each_gradient(method, turn, images(), state, Rows(0, 1, 2))
        without_first, _ = each_gradient(method, turn, images().flip(0)[:2], state, Rows(2, 1))
        for key, found in together.items():
            torch.testing.assert_close(found[1:].flip(0), without_first[key], rtol=1e-3, atol=1e-5)


def test_no_random_number_is_of_torchs_generators(monkeypatch):
    method, state = build("ra")
    x, before = images(), torch.random.get_rng_state()
    for name in ("Generator", "manual_seed"):
        monkeypatch.setattr(torch, name, lambda *_: pytest.fail("a seed"))
    for turn in method.turns(5):
        bounded_sum(method, turn, x, state, 1.0, Seeded())
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", METHODS)
def test_each_image_has_noise_of_its_own_each_time(name):
    method, state = build(name)
    draws = Seeded()
    for turn in method.turns(5):
        twice = [each_gradient(method, turn, images(1).expand(2, -1, -1, -1), state, draws)[0] for _ in range(2)]
        parts = torch.cat([torch.cat([g.flatten(1) for g in found.values()], 1) for found in twice])
        assert len({tuple(part.tolist()) for part in parts}) == 4


def test_all_is_in_float32_whatever_the_machines_precision():
    method, state = build("ra")
    half = replace(state, autocast=lambda: torch.autocast("cpu", torch.bfloat16))
    for turn in method.turns(5):
        found, expected = (bounded_sum(method, turn, images(), s, 1.0, Rows(0, 1, 2)).sums for s in (half, state))
        assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("name", ["ra", "vae"])
def test_no_part_is_longer_than_the_norm_over_all_that_a_turn_moves(name):
    method, state = build(name)
    for turn in method.turns(5) + method.turns(0):
        for clip in (1e-3, 1e6):
            sums = bounded_sum(method, turn, images(1), state, clip, Seeded()).sums
            whole, _ = each_gradient(method, turn, images(1), state, Seeded())
            norm = math.sqrt(sum(float(s.square().sum()) for s in sums.values()))
            unclipped = math.sqrt(sum(float(g.double().square().sum()) for g in whole.values()))
            assert norm == pytest.approx(min(clip, unclipped), rel=1e-6)


def test_a_patient_whose_gradient_is_not_finite_adds_nothing():
    method, state = build("vae")
    (turn,) = method.turns(0)
    bad = images(2)
    bad[1] = math.nan
    found = bounded_sum(method, turn, bad, state, 0.01, Seeded())
    norm = math.sqrt(sum(float(s.square().sum()) for s in found.sums.values()))
    assert norm == pytest.approx(0.01)
    assert found.terms["vae"].shape == (1,)


@pytest.mark.parametrize("name", METHODS)
def test_settings_know_how_many_releases_the_steps_make(name):
    method, _ = build(name)
    counted = sum(len(method.turns(step)) for step in range(4))
    assert METHODS[name].releases(0, 4) == counted
    assert METHODS[name].releases(2, 4) == len(method.turns(2)) + len(method.turns(3))
