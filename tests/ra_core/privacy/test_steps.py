"""Steps with noise: who is drawn, how much noise there is, what happens without anybody."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from private import Seeded, build
from pydantic import ValidationError
from scipy import stats
from torch import nn

from ra_core.config import StudyConfig, TrainingConfig
from ra_core.data import HeldImages
from ra_core.errors import ConfigError
from ra_core.models.configs import BetaVAEConfig, VAEConfig
from ra_core.models.registry import build_method
from ra_core.privacy import steps as private_steps
from ra_core.privacy.randomness import Randomness
from ra_core.privacy.settings import PrivacyConfig
from ra_core.privacy.steps import PrivateSteps, require_apart
from ra_core.training import LocalTrainer


def steps(patients=((0,), (1, 2)), noise=1.0, batch_size=2, seed=0, **config):
    found = PrivacyConfig(**{"noise_multiplier": noise, "sampling_rate": 0.5, "clip_norm": 0.1} | config)
    return PrivateSteps(patients, found, noise, batch_size, Seeded(seed))


def test_patients_are_drawn_each_by_itself_with_one_image():
    patients = [range(start, start + 1 + 20 * (start == 0)) for start in (0, 21, 22, 23)]
    private = steps(patients, sampling_rate=0.3)
    draws = [private.drawn() for _ in range(4000)]
    owners = [[min(image, 20) if image <= 20 else image for image in found] for found in draws]
    many = [sum(image <= 20 for image in found) for found in owners]
    assert max(many) == 1, "a patient with many images is in a sum once"
    for patient in range(4):
        share = np.mean([any((i <= 20) if not patient else i == 20 + patient for i in found) for found in draws])
        assert share == pytest.approx(0.3, abs=0.03)
    sizes = np.bincount([len(found) for found in draws], minlength=5) / len(draws)
    assert sizes[0] == pytest.approx(0.7**4, abs=0.03)
    assert {image for found in draws for image in found if image <= 20} == set(range(21))


def followed(private, name, draw=None):
    """The gradients that a step follows, by the parts of each of its turns."""
    method, state = build(name)
    found = {}
    object.__setattr__(state, "follow", lambda gradients, *parts: found.update({parts: gradients}))
    private.step(method, draw, state)
    return {parts: torch.cat([g.flatten() for g in gradients]).double().numpy() for parts, gradients in found.items()}


@pytest.mark.parametrize(("name", "turns"), [("vae", [("encoder", "decoder")]), ("ra", [("encoder",), ("decoder",)])])
def test_the_noise_that_the_optimizer_follows_is_the_declared_one_in_each_turn(name, turns):
    found = followed(steps([], noise=2.0, clip_norm=0.5, batch_size=4), name)
    method, _ = build(name)
    assert list(found) == turns
    assert sum(map(len, found.values())) == sum(p.numel() for p in method.parameters())
    for noise in found.values():
        assert noise.std() == pytest.approx(2.0 * 0.5 / 4, rel=0.03)
        assert abs(noise.mean()) < 5 * noise.std() / np.sqrt(len(noise))


def test_the_noise_of_two_turns_and_of_two_steps_is_independent():
    private = steps([])
    turns = [noise for _ in range(2) for noise in followed(private, "ra").values()]
    length = min(map(len, turns))
    correlation = np.corrcoef([noise[:length] for noise in turns])
    assert np.abs(correlation - np.eye(4)).max() < 5 / np.sqrt(length)


def test_the_noise_is_made_of_the_systems_bits(monkeypatch):
    asked, urandom = [], os.urandom
    monkeypatch.setattr(os, "urandom", lambda count: asked.append(count) or urandom(count))
    private = replace(steps([]), randomness=Randomness())
    first, second = followed(private, "ra"), followed(private, "ra")
    method, _ = build("ra")
    assert sum(asked) == 2 * 4 * 8 * sum(p.numel() for p in method.parameters())
    assert all((first[turn] != second[turn]).all() for turn in first)


def test_each_turn_draws_patients_and_augmentation_of_its_own():
    looked_at, changes = [], []

    def draw(indices, uniform):
        looked_at.append(list(indices))
        changes.append(uniform(len(indices), 5))
        return torch.rand(len(indices), 1, 32, 32)

    private = steps([[i] for i in range(16)])
    for _ in range(2):
        followed(private, "ra", draw)
    assert len({tuple(found) for found in looked_at}) == 4
    numbers = torch.cat(changes).flatten().tolist()
    assert len(set(numbers)) == len(numbers)
    assert stats.kstest(numbers, "uniform").pvalue > 0.01


def test_a_step_adds_bounded_parts_of_any_number_of_patients_and_noise(monkeypatch):
    monkeypatch.setattr(private_steps, "TOGETHER", 2)
    x = torch.rand(5, 1, 32, 32)
    private = steps([[i] for i in range(5)], noise=1e-9, sampling_rate=1.0, clip_norm=0.01)
    (found,) = followed(private, "vae", lambda indices, _: x[list(indices)]).values()
    assert (
        0.01 / 2 < np.linalg.norm(found) <= 5 * 0.01 / 2 * (1 + 1e-5)
    )  # five patients in chunks of two, over a size of two


def test_no_more_images_are_looked_at_together_than_memory_is_set_aside_for():
    sizes = []

    def draw(indices, _):
        sizes.append(len(indices))
        return torch.rand(len(indices), 1, 32, 32)

    followed(steps([[i] for i in range(40)], batch_size=1000, sampling_rate=1.0), "vae", draw)
    assert sizes == [16, 16, 8]


def test_terms_are_of_all_patients_though_the_first_ones_have_none(monkeypatch):
    monkeypatch.setattr(private_steps, "TOGETHER", 1)
    method, state = build("vae")
    x = torch.rand(2, 1, 32, 32)
    x[0] = torch.nan
    private = steps([[0], [1]], sampling_rate=1.0)
    assert {"vae", "error"} <= private.step(method, lambda indices, _: x[list(indices)], state).keys()


@pytest.mark.parametrize("name", ["ra", "vae"])
@pytest.mark.parametrize("step", [0, 5])
def test_without_a_patient_a_step_is_noise_alone(name, step):
    method, state = build(name, step)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    terms = steps([], noise=1.0).step(method, None, state)
    assert terms == {}
    assert any(not torch.equal(before[key], value) for key, value in method.state_dict().items())


def test_a_trainer_takes_private_steps(runtime):
    method = build_method(VAEConfig(channels=(4, 8), latent=4), 32, 0)
    images = HeldImages(torch.rand(3, 1, 32, 32))
    rows = []
    private = steps([[0], [1, 2]], sampling_rate=1.0)
    trainer = LocalTrainer(method, images, images, TrainingConfig(batch_size=2), runtime, 0, private=private)
    trainer.run(2, lambda _, terms: rows.append(terms))
    assert trainer.step == 2
    assert {"vae", "error", "kl_real"} <= rows[0].keys()


def test_layers_that_mix_patients_are_refused_in_our_words():
    method, _ = build("vae")
    require_apart(method)
    method.encoder.stem[1] = nn.BatchNorm2d(4)
    with pytest.raises(ConfigError, match=r"dp: BatchNorm2d \(1 such layers\) makes of an image what depends on"):
        require_apart(method)


def test_frozen_batch_norm_is_let_in():
    method, _ = build("ra, frozen batch norm")
    require_apart(method)


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ({"name": "pca"}, "nothing bounds what a single patient changes"),
        ({"name": "ddpm"}, "nothing bounds what a single patient changes"),
        ({"name": "vae", "norm": "batch"}, "norm batch mixes patients"),
        ({"name": "beta_vae"}, "objective B compares the mean KL"),
    ],
)
def test_methods_that_it_does_not_fit_are_refused(method, why):
    once = {"training": {"steps": 1}, "federation": {"rounds": 1, "local_steps": 1}}
    with pytest.raises(ValidationError, match=why):
        StudyConfig.model_validate({"method": method, "dp": {"noise_multiplier": 1.0}} | once)


def test_the_other_beta_vae_is_let_in():
    assert BetaVAEConfig(objective="H").why_not_private == ""


def test_settings_without_any_noise_are_refused():
    with pytest.raises(ValidationError, match="neither noise_multiplier nor epsilon"):
        PrivacyConfig()
