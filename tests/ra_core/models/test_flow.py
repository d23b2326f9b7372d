import math
from contextlib import nullcontext

import pytest
import torch
from looking import SIZE, SMALL, discs, pictures, stands_out
from torch.distributions import Normal

from ra_core.data import HeldImages
from ra_core.models.configs import FlowConfig
from ra_core.models.flow import LARGEST_LOG_SCALE, encoded_places
from ra_core.models.method import StepState
from ra_core.models.registry import build_method
from ra_core.models.shared import shared_tensors
from ra_core.training import LocalTrainer

pytestmark = pytest.mark.slow

CONFIG = FlowConfig(**SMALL, channels=16, hidden=32, position=8, learning_rate=3e-3)


@pytest.fixture
def build(untrained_perceptual):
    def built(seed=0, **settings):
        method = build_method(CONFIG.model_copy(update=settings), SIZE, seed)
        method.look_through(untrained_perceptual)
        return method

    return built


@pytest.fixture
def train(tiny_study, runtime, build):
    """A method trained for some steps, without augmentation."""
    still = type(tiny_study.training.augmentation)(rotate_degrees=0, shift=0, scale=0)

    def trained(x, steps, **settings):
        training = {"steps": steps, "validate_every": steps, "batch_size": 4, "augmentation": still}
        config = tiny_study.training.model_copy(update=training)
        trainer = LocalTrainer(build(**settings), HeldImages(x), HeldImages(x), config, runtime, 0)
        trainer.run(steps)
        trainer.method.eval()
        return trainer

    return trained


def one_step(method, x, autocast=nullcontext):
    state = StepState(0, 0, method.optimizers(), autocast, torch.device("cpu"))
    return method.training_step(x, state)


def test_the_likelihood_is_that_of_the_change_of_variables(build):
    """log p(x) = log N(f(x)) + log |det df/dx|, the determinant by automatic differentiation."""
    method = build().double()
    x = torch.randn(3, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    places = encoded_places(8, 8)[[0, 9, 63]].double()
    found = method.flow(places).log_prob(x)
    for row, place, likelihood in zip(x, places, found, strict=True):
        transform = method.flow(place).transform
        jacobian = torch.autograd.functional.jacobian(transform, row)
        expected = Normal(0.0, 1.0).log_prob(transform(row)).sum() + torch.linalg.slogdet(jacobian).logabsdet
        assert likelihood.item() == pytest.approx(expected.item(), rel=1e-4)  # its networks are in float32 at the end


def test_a_handful_of_images_becomes_likely(train):
    trainer = train(pictures(4), 120)
    first, last = trainer.history[0]["log_likelihood"], trainer.history[-1]["log_likelihood"]
    assert last > first + 0.5


def test_a_hole_is_found_where_it_is(train, site_root, tiny_study):
    healthy, tested, sick = discs(site_root, tiny_study.preprocessing)
    method = train(healthy, 150, levels=(0,)).method  # features of random weights tell little farther up
    with torch.inference_mode():
        assert method.healthy_error(sick).mean() > method.healthy_error(tested).max()
        assert stands_out(method, sick)


def test_training_has_the_same_bits_each_time_and_batch_mates_do_not_matter(train):
    x = pictures(4)
    torch.rand(3)
    first, again = (train(x, 5).method for _ in range(2))
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in first.state_dict().items())
    with torch.inference_mode():
        assert torch.equal(first.distance(x), again.distance(x))
        torch.testing.assert_close(first.distance(x)[2:3], first.distance(x[2:3]), rtol=1e-4, atol=1e-5)


def test_all_state_is_shared_and_can_be_restored(build):
    method = build()
    assert set(method.state_dict()) == set(shared_tensors(method))
    assert {name for name, _ in method.named_parameters()} == set(shared_tensors(method))


def test_the_distance_is_the_softened_likelihood(build):
    method, x = build(smooth=0.0).eval(), pictures(3)
    with torch.inference_mode():
        likelihood = method._log_likelihood(method._features(x))
        low = torch.log1p(torch.exp(-likelihood)).view(3, 1, 8, 8)
        expected = torch.nn.functional.interpolate(low, size=(SIZE, SIZE), mode="bilinear")
        torch.testing.assert_close(method.distance(x), expected)
        assert method.distance(x).min() > 0


@pytest.mark.parametrize("spoiled", [1e6, -1e6])
def test_neither_loss_nor_distance_runs_away(build, spoiled, monkeypatch):
    """Scales are clamped: features far beyond any image give large numbers, and constant ones no infinite density."""
    method = build()
    monkeypatch.setattr(method, "look", lambda x: torch.full((len(x), 64, CONFIG.available), spoiled))
    assert math.isfinite(one_step(method, pictures(2))["log_likelihood"])
    with torch.inference_mode():
        assert method.distance(pictures(2)).isfinite().all()


def test_constant_features_have_a_bounded_density(train, monkeypatch):
    found = train(torch.zeros(4, 1, SIZE, SIZE), 150, learning_rate=0.03).history[-1]["log_likelihood"]
    assert found <= 0.5 * CONFIG.blocks * LARGEST_LOG_SCALE


def test_bfloat16_gives_about_the_same_likelihood(build):
    def autocast():
        return torch.autocast("cpu", torch.bfloat16)

    x = pictures(4)
    exact, rough = (one_step(build(), x, context)["log_likelihood"] for context in (nullcontext, autocast))
    assert rough == pytest.approx(exact, rel=0.02)


def test_places_have_codes_of_their_own():
    found = encoded_places(16, 32)
    assert found.shape == (256, 32)
    assert found.abs().max() <= 1
    assert torch.cdist(found, found).fill_diagonal_(1).min() > 0.1
    place = found.view(16, 16, 32)
    assert torch.equal(place[3, 5, :16], place[3, 9, :16])  # rows
    assert torch.equal(place[3, 5, 16:], place[7, 5, 16:])  # columns
    torch.testing.assert_close(place[3, 0, 0], torch.tensor(3.0).sin())
