from contextlib import nullcontext

import pytest
import torch
from diffusers import DDPMScheduler
from torch import nn

from ra_core.artifact import model_hash
from ra_core.config import AugmentationConfig, FederationConfig, TrainingConfig
from ra_core.data import HeldImages
from ra_core.models.configs import DDPMConfig
from ra_core.models.ddpm import DDPM
from ra_core.models.method import StepState
from ra_core.models.registry import build_method
from ra_core.models.shared import load_shared, shared_tensors
from ra_core.rng import generator
from ra_core.training import LocalTrainer

pytestmark = pytest.mark.slow

SIZE = 16
TINY = DDPMConfig(channels=(16, 16), wavelength=16, octaves=4, denoising_steps=5, learning_rate=3e-3)


def discs(count, seed=0, sick=False):
    """Bright discs of changing size and place on black; a sick one has a dark hole."""
    draws = torch.rand(count, 3, 1, 1, generator=generator(seed, "discs"))
    line = torch.arange(SIZE).float()
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    centre = 7.5 + 2 * (draws[:, :2] - 0.5)
    x = ((rows - centre[:, 0]).hypot(columns - centre[:, 1]) < 5.5 + draws[:, 2]).float() * 0.8
    hole = (rows - 7).hypot(columns - 8) < 2
    return torch.where(hole & torch.tensor(sick), 0.1, x)[:, None]


def trained(config, x, steps, runtime):
    still = AugmentationConfig(rotate_degrees=0, shift=0, scale=0)
    training = TrainingConfig(steps=steps, batch_size=len(x), validate_every=steps, augmentation=still)
    trainer = LocalTrainer(build_method(config, SIZE, 0), HeldImages(x), HeldImages(x[:2]), training, runtime, 0)
    trainer.run(steps)
    return trainer.method.eval()


@pytest.fixture(scope="module")
def method(runtime):
    return trained(TINY, discs(8).repeat(4, 1, 1, 1), 100, runtime)  # four levels of noise on each in a step


def reconstructed(method, x):
    with torch.inference_mode():
        return method.reconstruct(x)


def signal(time):
    """Share of the image's variance that is left at a time, from 0: the product of 1 - β (Ho et al., equation 4)."""
    betas = 1e-4 + (0.02 - 1e-4) * torch.arange(1000, dtype=torch.float64) / 999
    return (1 - betas).cumprod(0)[time].float()


def knowing(method, x, monkeypatch):
    """A method whose network knows the image, and so the noise."""

    def predict(noised, time):
        kept = signal(time)
        return (noised - kept.sqrt() * (2 * x - 1)) / (1 - kept).sqrt()

    monkeypatch.setattr(method, "_predict", predict)
    return method


@pytest.mark.parametrize("noise", ["simplex", "gaussian"])
@pytest.mark.parametrize(("level", "steps", "eta"), [(250, 10, 0.0), (50, 50, 1.0), (200, 1, 0.0), (1000, 20, 0.5)])
def test_who_knows_the_image_denoises_to_it_in_any_number_of_strides(level, steps, eta, noise, monkeypatch):
    config = DDPMConfig(
        channels=(8, 16), noise=noise, trained_level=1000, noise_level=level, denoising_steps=steps, eta=eta, samples=2
    )
    x = 0.1 + 0.8 * torch.rand(2, 1, SIZE, SIZE, generator=generator(0, "x"))
    method = knowing(build_method(config, SIZE, 0), x, monkeypatch)
    torch.testing.assert_close(reconstructed(method, x), x, atol=1e-3, rtol=0)
    assert method.healthy_error(x).max() < 1e-6


def test_single_strides_with_all_noise_are_ddpms_own_sampling(monkeypatch):
    config = TINY.model_copy(update={"noise": "gaussian", "noise_level": 40, "denoising_steps": 40, "eta": 1.0})
    method = build_method(config, SIZE, 0).eval()
    with torch.no_grad():
        method.unet.conv_out.weight.mul_(10)  # such a network's images have to be clipped
    noises = {}
    noise = method._noise
    monkeypatch.setattr(method, "_noise", lambda draw, count: noises.setdefault(len(noises), noise(draw, count)))
    x = discs(2)
    found = reconstructed(method, x)
    assert len(noises) == 41
    drawn = iter([noises[number] for number in range(1, 41)])
    monkeypatch.setattr(
        "diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda shape, **_: next(drawn).expand(shape)
    )
    scheduler = DDPMScheduler(1000)
    sample = signal(39).sqrt() * (2 * x - 1) + (1 - signal(39)).sqrt() * noises[0]
    with torch.inference_mode():
        for time in range(39, -1, -1):
            sample = scheduler.step(method._predict(sample, time), time, sample).prev_sample
    assert (found - x).abs().max() > 0.01
    torch.testing.assert_close(found, ((sample + 1) / 2).clamp(0, 1), atol=1e-4, rtol=0)


def test_a_step_descends_the_error_of_the_noise_at_random_levels(monkeypatch):
    method = build_method(TINY, SIZE, 0)
    found, seen = {}, []
    monkeypatch.setattr(StepState, "descend", lambda _, name, loss, *parts: found.update(loss=loss, parts=parts))
    predict = method._predict
    monkeypatch.setattr(method, "_predict", lambda *args: seen.append(args) or predict(*args))
    x, state = discs(200), StepState(7, 1, {}, nullcontext, torch.device("cpu"))
    terms = method.training_step(x, state)
    ((noised, times),) = seen
    noise = method._noise(state.noise, 200)
    kept = signal(times)[:, None, None, None]
    torch.testing.assert_close(noised, kept.sqrt() * (2 * x - 1) + (1 - kept).sqrt() * noise, atol=1e-4, rtol=1e-4)
    expected = (noise - predict(noised, times)).square().mean()
    assert found["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert terms == {"error": found["loss"].item()}
    assert found["parts"] == ("unet",)
    assert times.min() < 10
    assert 240 < times.max() < 250
    assert 105 < times.float().mean() < 145
    assert noise.var() == pytest.approx(1, rel=0.1)


def test_healthy_error_of_a_network_that_sees_no_noise_is_the_noises_own_variance(monkeypatch):
    method = build_method(TINY, SIZE, 0)
    monkeypatch.setattr(method, "_predict", lambda noised, time: torch.zeros_like(noised))
    error = method.healthy_error(discs(3))
    assert torch.equal(error, error[:1].expand(3))
    assert 0.3 < error[0] < 3


def test_presets_have_the_sizes_that_are_promised():
    paper = DDPM(DDPMConfig(preset="paper"), 128)
    assert sum(p.numel() for p in paper.parameters()) == 18_500_993
    assert [type(block).__name__ for block in paper.unet.down_blocks] == ["DownBlock2D"] + 2 * ["AttnDownBlock2D"]
    assert [type(block).__name__ for block in paper.unet.up_blocks] == 2 * ["AttnUpBlock2D"] + ["UpBlock2D"]
    small = DDPM(DDPMConfig(), 64)
    assert sum(p.numel() for p in small.parameters()) == 1_768_017
    assert reconstructed(small.eval(), torch.rand(1, 1, 64, 64)).shape == (1, 1, 64, 64)


def test_it_overfits_a_handful_of_images(method):
    x = discs(8)
    assert (reconstructed(method, x) - x).square().mean() < 0.6 * (x - x.mean(0)).square().mean()
    with torch.inference_mode():
        assert method.healthy_error(x).mean() < 0.3  # 1 is what knows nothing


def test_a_healthy_image_is_explained_better_than_a_sick_one(method):
    healthy, sick = (discs(8, seed=9, sick=sick) for sick in (False, True))
    errors = [(reconstructed(method, x) - x).square().flatten(1).mean(1) for x in (healthy, sick)]
    assert (errors[1] > 1.3 * errors[0]).all()
    with torch.inference_mode():
        assert (method.healthy_error(sick) > 1.3 * method.healthy_error(healthy)).all()


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_scoring_is_deterministic_and_each_image_is_by_itself(eta):
    method = build_method(TINY.model_copy(update={"eta": eta, "samples": 2, "noise_level": 25}), SIZE, 0).eval()
    x = discs(4, seed=2)
    for function in (method.reconstruct, method.healthy_error):
        with torch.inference_mode():
            first = function(x)
            torch.rand(2)
            assert torch.equal(first, function(x))
            assert torch.equal(first[:2], function(torch.cat([x[:2], torch.rand(2, 1, SIZE, SIZE)]))[:2])
            torch.testing.assert_close(first[1:2], function(x[1:2]), atol=1e-5, rtol=1e-4)
    assert first.min() >= 0


def test_samples_differ_and_are_averaged():
    methods = [build_method(TINY.model_copy(update={"samples": count}), SIZE, 0).eval() for count in (1, 2)]
    x = discs(1)
    with torch.inference_mode():
        one, other = (methods[0]._heal(2 * x - 1, number) for number in (0, 1))
        assert not torch.equal(one, other)
        torch.testing.assert_close(methods[1].reconstruct(x), (one + other) / 4 + 0.5)


def test_training_depends_on_the_seed_alone(runtime):
    x = discs(8)
    first = trained(TINY, x, 3, runtime)
    torch.rand(2)
    assert model_hash(first) == model_hash(trained(TINY, x, 3, runtime))


def test_shared_tensors_give_the_same_scores(method):
    other = build_method(TINY, SIZE, 5).eval()
    load_shared(other, None, {name: tensor.clone() for name, tensor in shared_tensors(method).items()})
    x = discs(3, seed=2)
    assert torch.equal(reconstructed(other, x), reconstructed(method, x))
    with torch.inference_mode():
        assert torch.equal(other.healthy_error(x), method.healthy_error(x))


def test_all_of_the_network_is_shared_and_norms_may_stay():
    method = build_method(TINY, SIZE, 0)
    everything = {name for name, _ in method.named_parameters()}
    assert set(shared_tensors(method)) == everything == set(method.state_dict())
    norms = {name for name in everything if isinstance(method.get_submodule(name.rpartition(".")[0]), nn.GroupNorm)}
    assert norms == {name for name in everything if "norm" in name}
    assert set(shared_tensors(method, FederationConfig(local_norms=True))) == everything - norms


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"noise_level": 300}, r"noise_level \(300\) is above trained_level \(250\)"),
        ({"denoising_steps": 20}, "must be one of 250, 125, 50, 25, 10, 5, 2, 1"),
        ({"denoising_steps": 300}, "must be one of 250"),
        ({"attention": 5}, "more than there are channels"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, reason):
    with pytest.raises(ValueError, match=reason):
        DDPMConfig(**settings)


def test_a_size_that_cannot_be_halved_often_enough_is_refused():
    with pytest.raises(ValueError, match="multiple of 8"):
        DDPM(DDPMConfig(), 36)
