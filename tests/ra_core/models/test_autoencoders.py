"""What all methods that draw an image again promise, on tiny ones."""

from functools import cache

import pytest
import torch

from client.listed import ALLOWED_METRICS
from ra_core.config import AugmentationConfig, RuntimeConfig, TrainingConfig
from ra_core.data import HeldImages
from ra_core.models.configs import (
    CONFIGS,
    BetaVAEConfig,
    DAEConfig,
    PerceptualAEConfig,
    RAConfig,
    SoftIntroVAEConfig,
    VAEConfig,
)
from ra_core.models.registry import build_method
from ra_core.models.shared import shared_tensors
from ra_core.rng import generator
from ra_core.runtime import Runtime
from ra_core.scoring import Scorer, ScoringConfig
from ra_core.training import LocalTrainer

pytestmark = pytest.mark.slow

SIZE = 32
NARROW = {"channels": (8, 16, 16), "latent": 8, "learning_rate": 3e-3}
INTROSPECTIVE = NARROW | {
    "learning_rate": 3e-4,
    "w_kl": 1e-5,
    "warmup_steps": 65,
    "warmup_learning_rate": 1e-2,
}
TINY = {
    "ra": RAConfig(**INTROSPECTIVE),
    "soft_intro_vae": SoftIntroVAEConfig(**INTROSPECTIVE),
    "vae": VAEConfig(**NARROW, w_kl=1e-5),
    "beta_vae": BetaVAEConfig(**NARROW, w_kl=1e-4, capacity=15, capacity_steps=30),
    "dae": DAEConfig(channels=(8, 16, 32), noise_side=6, learning_rate=1e-2, schedule_steps=70),
    "ae_perceptual": PerceptualAEConfig(**NARROW),
    "spatial": PerceptualAEConfig(**NARROW | {"latent": 1}, bottleneck="spatial", epsilon=20),
}
RESIDUAL = [ScoringConfig(name="residual", factors=("residual",))]
each = pytest.mark.parametrize("kind", TINY)


@pytest.fixture(autouse=True)
def no_weights_needed(monkeypatch, untrained_perceptual):
    monkeypatch.setattr("ra_core.models.ae_perceptual.pretrained", lambda config, device: untrained_perceptual)


def discs(n, seed=0, sick=False):
    """(n, 1, 32, 32): soft discs of several places, sizes and greys; sick ones have a bright spot."""
    draws = torch.rand(n, 4, generator=generator(seed, "discs"))
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    row, column, radius, grey = (value[:, None, None] for value in draws.T)

    def disc(at, r):
        return torch.sigmoid(r - torch.hypot(rows - at[0], columns - at[1]))

    body = disc((12 + 8 * row, 12 + 8 * column), 6 + 6 * radius) * (0.2 + 0.5 * grey)
    spot = disc((19, 12), 3.0) if sick else torch.zeros(())
    return torch.maximum(body, spot)[:, None]


def trained(kind, runtime, x, steps):
    config = TrainingConfig(
        steps=steps,
        batch_size=6,
        validate_every=steps,
        augmentation=AugmentationConfig(rotate_degrees=0, shift=0, scale=0),
    )
    t = LocalTrainer(build_method(TINY[kind], SIZE, 0), HeldImages(x), HeldImages(x[:4]), config, runtime, 0)
    t.run(steps)
    t.method.eval()
    return t


@pytest.fixture(scope="module")
def ready(runtime, untrained_perceptual):
    """Methods that have seen six healthy images for a while, trained when first asked for."""

    @cache
    def method(kind):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ra_core.models.ae_perceptual.pretrained", lambda config, device: untrained_perceptual)
            return trained(kind, runtime, discs(6), 70).method

    return method


def twins(method, x):
    with torch.inference_mode():
        return method.reconstruct(x)


@each
def test_it_overfits_a_handful_of_images(kind, ready):
    x = discs(6)
    error = (twins(ready(kind), x) - x).square().mean()
    assert error < 0.5 * (x - x.mean(0)).square().mean()


@each
def test_a_healthy_image_is_explained_better_than_a_sick_one(kind, ready):
    healthy, sick = discs(6), discs(6, sick=True)
    with torch.inference_mode():
        maps = ready(kind).maps(torch.cat([healthy, sick]), Scorer(None), RESIDUAL)["residual"]
    of_healthy, of_sick = maps.chunk(2)
    assert of_sick.mean() > 1.3 * of_healthy.mean()
    lesions = sick - healthy > 0.1
    assert of_sick[lesions].mean() > 3 * of_sick[~lesions].mean()


@each
def test_lesions_stand_out_in_unseen_images_too(kind, runtime):
    """A model that knew its training images by heart, or one image for all, could not tell what is wrong from new."""
    method = trained(kind, runtime, discs(40), 100).method
    healthy, sick = discs(12, seed=7), discs(12, seed=7, sick=True)
    with torch.inference_mode():
        maps = method.maps(torch.cat([healthy, sick]), Scorer(None), RESIDUAL)["residual"]
    of_healthy, of_sick = maps.chunk(2)
    drawn = twins(method, healthy)
    own, another = ((drawn - x).square().mean() for x in (healthy, healthy.roll(1, 0)))
    assert own < 0.95 * another
    lesions = sick - healthy > 0.1
    assert of_sick[lesions].mean() > 1.5 * of_healthy[lesions].mean()
    assert (of_sick.flatten(1).mean(1) > of_healthy.flatten(1).mean(1)).float().mean() > 0.7


@each
def test_equal_seeds_give_equal_bits_and_terms_that_may_leave(kind, runtime):
    runs = []
    for _ in range(2):
        torch.rand(3)  # the global generator is no one's business
        runs.append(trained(kind, runtime, discs(8), 3))
    for name, tensor in runs[0].method.state_dict().items():
        assert torch.equal(tensor, runs[1].method.state_dict()[name])
    assert runs[0].history == runs[1].history
    assert set(runs[0].history[0]) - {"step"} <= ALLOWED_METRICS


@each
def test_half_precision_trains_it_too(kind):
    bf16 = Runtime.resolve(RuntimeConfig(threads=1), "bf16")
    method = trained(kind, bf16, discs(6), 3).method
    assert all(tensor.dtype == torch.float32 for tensor in method.state_dict().values())
    assert twins(method, discs(6)).dtype == torch.float32


@each
def test_twins_are_deterministic_in_range_and_know_nothing_of_batch_mates(kind):
    method = build_method(TINY[kind], SIZE, 0).eval()
    x = discs(5)
    together = twins(method, x)
    assert together.shape == x.shape
    assert 0 <= together.min() <= together.max() <= 1
    assert torch.equal(together, twins(method, x))
    torch.testing.assert_close(torch.cat([twins(method, image[None]) for image in x]), together, atol=1e-5, rtol=0)


@each
def test_all_of_it_is_shared(kind):
    method = build_method(TINY[kind], SIZE, 0)
    assert tuple(method.shared_parts()) == TINY[kind].parts == tuple(method.optimizers())
    assert set(shared_tensors(method)) == set(method.state_dict())


@each
def test_a_size_that_cannot_be_halved_often_enough_is_refused(kind):
    with pytest.raises(ValueError, match="multiple"):
        build_method(TINY[kind], SIZE + 2, 0)


@pytest.mark.parametrize("name", ["ra", "soft_intro_vae", "vae", "beta_vae", "dae", "ae_perceptual"])
@pytest.mark.parametrize("preset", ["small", "paper"])
def test_presets_make_models(name, preset):
    config = CONFIGS[name].model_validate({"preset": preset})
    method = build_method(config, 64, 0).eval()
    assert twins(method, torch.rand(1, 1, 64, 64)).shape == (1, 1, 64, 64)
    if preset == "small":
        assert sum(p.numel() for p in method.parameters()) <= sum(
            p.numel() for p in build_method(RAConfig(), 64, 0).parameters()
        )
