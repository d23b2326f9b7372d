"""Attacks with known answers: on models that know their patients by heart, and on models that can't know them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ra_core.config import TrainingConfig
from ra_core.data import HeldImages
from ra_core.errors import TooFewImagesError
from ra_core.membership import Crowd, Recipe, attack, confidences, reference_confidences
from ra_core.models.configs import CONFIGS, VAEConfig
from ra_core.models.registry import build_method

RESAMPLING = {"bootstrap": 500, "confidence": 0.95, "seed": 0}
SIZE = 16
CPU = torch.device("cpu")
PCA = Recipe(CONFIGS["pca"](components=20), SIZE, TrainingConfig())
VAE = Recipe(VAEConfig(channels=(4, 8), latent=8), SIZE, TrainingConfig(steps=6, batch_size=8))


def crowd(trained=40, held_back=40, seed=0, patients=None):
    x = torch.rand(trained + held_back, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    inside = np.arange(len(x)) < trained
    return Crowd(HeldImages(x), patients or [f"p{i}" for i in range(len(x))], inside)


def findings(found, model, recipe, runtime, pairs=2, seed=0):
    without = reference_confidences(found, recipe, runtime, pairs, seed, lambda: None)
    return attack(found, confidences(model, found.images, 8, CPU), without, **RESAMPLING)


def pca_of(x, components=40):
    method = build_method(CONFIGS["pca"](components=components), SIZE, 0)
    method.fit([x])
    return method


def test_who_is_known_by_heart_is_found(runtime):
    """As many components as images: each image trained on is drawn without an error."""
    found = crowd()
    told = findings(found, pca_of(found.images.x[:40], 39), PCA, runtime)
    assert told.loss_gap.value == told.likelihood_ratio.value == 1
    assert told.likelihood_ratio.ci_low > 0.99
    assert told.found.value == 1
    assert told.images_alone.ci_low < 0.5 < told.images_alone.ci_high
    assert (told.loss_gap.n_anomalous, told.loss_gap.n_healthy) == (40, 40)


@pytest.mark.parametrize("seed", range(3))
def test_a_model_of_others_tells_nothing(runtime, seed):
    told = findings(crowd(seed=seed), pca_of(crowd(seed=100 + seed).images.x), PCA, runtime)
    for estimate in (told.loss_gap, told.likelihood_ratio):
        assert estimate.ci_low < 0.5 < estimate.ci_high
    assert told.found.value < 0.3


def test_groups_that_differ_by_themselves_deceive_the_loss_gap_alone(runtime):
    """Those trained on are fainter, so that any model errs less in them; the model has seen neither group."""
    found, others = crowd(), crowd(seed=1).images.x
    strength = torch.linspace(1, 0.2, 40).repeat(2)
    strength[:40] *= 0.5
    faint = replace(found, images=HeldImages(0.5 + (found.images.x - 0.5) * strength[:, None, None, None]))
    told = findings(faint, pca_of(0.5 + (others - 0.5) * strength[:, None, None, None]), PCA, runtime, pairs=8)
    assert told.loss_gap.ci_low > 0.6
    assert told.images_alone.ci_low > 0.6
    assert told.likelihood_ratio.ci_low < 0.5 < told.likelihood_ratio.ci_high


def test_the_same_seed_gives_the_same_and_another_does_not(runtime):
    found = crowd(20, 20)
    first, again, other = (reference_confidences(found, VAE, runtime, 1, seed, lambda: None) for seed in (5, 5, 6))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_every_patient_is_outside_of_one_model_of_each_pair(runtime, monkeypatch):
    """Two images a patient; halves hold as many of both groups."""
    ids = [f"p{i // 2}" for i in range(60)]
    found, seen = crowd(40, 20, patients=ids), []

    def trained(self, images, *_):
        seen.append(sorted(images.indices.tolist()))
        return build_method(VAE.method, SIZE, 0)

    monkeypatch.setattr(Recipe, "trained", trained)
    reference_confidences(found, VAE, runtime, 3, 0, lambda: None)
    assert len(seen) == 6
    for first, second in zip(seen[::2], seen[1::2], strict=True):
        assert sorted(first + second) == list(range(60))
        assert {ids[i] for i in first}.isdisjoint(ids[i] for i in second)
        assert [sum(i < 40 for i in half) for half in (first, second)] == [20, 20]
    assert len({tuple(half) for half in seen}) == 6


def test_steps_are_told_one_by_one(runtime):
    steps = []
    reference_confidences(crowd(10, 10), VAE, runtime, 1, 0, lambda: steps.append(1))
    assert len(steps) == 12


@settings(deadline=None)
@given(order=st.permutations(range(20)), extra=st.lists(st.integers(0, 19), max_size=10))
def test_neither_order_nor_further_equal_images_of_a_patient_matter(order, extra):
    values = np.random.default_rng(0).normal(size=(2, 20))
    plain = crowd(10, 10)
    chosen = [*order, *extra]
    other = Crowd(
        HeldImages(plain.images.x[chosen]), [plain.patients[i] for i in chosen], np.array([i < 10 for i in chosen])
    )
    first = attack(plain, *values, **RESAMPLING)
    second = attack(other, *values[:, chosen], **RESAMPLING)
    for name, estimate in vars(first).items():
        assert vars(second)[name].value == pytest.approx(estimate.value)


def test_confidences_are_log_odds_of_the_error(runtime):
    method, x = build_method(VAE.method, SIZE, 0), crowd(10, 10).images
    with torch.inference_mode():
        p = torch.exp(-method.eval().healthy_error(x.x).double())
    np.testing.assert_allclose(confidences(method, x, 7, CPU), torch.log(p / (1 - p)), rtol=1e-6)


@pytest.mark.parametrize(("trained", "held_back"), [(9, 40), (40, 9), (0, 20)])
def test_too_few_patients_are_refused(trained, held_back):
    with pytest.raises(TooFewImagesError, match=f"^{trained} patients trained on and {held_back} held back"):
        crowd(trained, held_back)


def test_images_that_no_reference_can_learn_from_are_told(runtime):
    same = replace(crowd(10, 10), images=HeldImages(torch.full((20, 1, SIZE, SIZE), 0.5)))
    with pytest.raises(TooFewImagesError, match="reference model: the training images are all the same"):
        reference_confidences(same, PCA, runtime, 1, 0, lambda: None)
