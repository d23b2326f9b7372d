import pytest
import torch
from scipy.ndimage import zoom
from torch.nn import functional as F

from ra_core.data import HeldImages
from ra_core.models.configs import DAEConfig
from ra_core.models.dae import DAE
from ra_core.models.method import StepState
from ra_core.models.registry import build_method
from ra_core.models.unet import StandardisedConv2d, UNet
from ra_core.rng import generator
from ra_core.training import LocalTrainer

SIZE = 32


def pictures(n=4):
    x = torch.rand(n, 1, SIZE, SIZE, generator=generator(0, "pictures")) * 0.9 + 0.1
    x[:, :, :8] = 0  # background
    return x


def method(**settings):
    return build_method(DAEConfig(**{"channels": (4, 8)} | settings), SIZE, 0)


def state(step=0):
    return StepState(step, 0, {}, torch.no_grad, torch.device("cpu"))


def test_noise_is_coarse_noise_enlarged_and_moved():
    """Against scipy's enlargement by splines of degree 1, from corner to corner."""
    x = torch.ones(3, 1, SIZE, SIZE)
    found = method(noise_side=5, noise_std=0.3).noise(x, state(7))
    coarse = torch.randn(3, 1, 5, 5, generator=generator(0, "noise", "coarse", 7))
    expected = 0.3 * torch.from_numpy(zoom(coarse.numpy(), (1, 1, SIZE / 5, SIZE / 5), order=1))
    moved = [
        (down, right)
        for down in range(SIZE)
        for right in range(SIZE)
        if torch.allclose(expected.roll((down, right), (2, 3)), found, atol=1e-5)
    ]
    assert len(moved) == 1


def test_noise_has_its_spread_depends_on_the_step_and_spares_the_background():
    dae, x = method(noise_side=8, noise_std=0.2), pictures(2)
    draws = torch.stack([dae.noise(x, state(step)) for step in range(200)])
    assert (draws[..., :8, :] == 0).all()
    assert torch.equal(draws[3], dae.noise(x, state(3)))
    assert not torch.equal(draws[3], draws[4])
    # halfway between two points of the grid the spread is less, by 1/√2 a direction
    spread = draws[..., 8:, :].std(0)
    assert 0.5 * 0.2 < spread.min() <= spread.max() < 1.2 * 0.2
    assert spread.std() < 0.02  # the shift leaves no lattice


@pytest.mark.parametrize(("error", "power"), [("squared", 2), ("absolute", 1)])
def test_a_step_takes_noise_off(runtime, tiny_study, monkeypatch, error, power):
    x = HeldImages(pictures())
    t = LocalTrainer(method(error=error), x, x, tiny_study.training, runtime, 0)
    batch, found = t._batch(), []
    noisy = batch + t.method.noise(batch, state())
    monkeypatch.setattr(StepState, "descend", lambda _, name, loss, *parts: found.append((loss.item(), parts)))
    t.run(1)
    expected = (t.method.unet(noisy) - batch).abs().pow(power).mean().item()
    assert found == [(pytest.approx(expected, rel=1e-5), ("unet",))]


def test_an_image_is_scored_without_noise():
    dae, x = method().eval(), pictures()
    with torch.inference_mode():
        assert torch.equal(dae.reconstruct(x), dae.unet(x).clamp(0, 1))


def test_the_rate_goes_down_and_up_along_a_cosine(runtime, tiny_study):
    dae = method(learning_rate=0.1, schedule_steps=10)
    assert [dae.config.rate(step) for step in (0, 5, 10, 20)] == pytest.approx([0.1, 0.05, 0, 0.1])
    assert method(learning_rate=0.1, schedule_steps=0).config.rate(12345) == 0.1
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(
        torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1), T_max=10
    )
    for step in range(25):
        assert dae.config.rate(step) == pytest.approx(reference.get_last_lr()[0], abs=1e-9)
        reference.optimizer.step()
        reference.step()
    x = HeldImages(pictures())
    t = LocalTrainer(dae, x, x, tiny_study.training, runtime, 0)
    t.run(6)
    assert t.optimizers["unet"].param_groups[0]["lr"] == dae.config.rate(5)


def test_paper_preset_is_the_published_network():
    """7.7 M parameters: 64-128-256-512 with two convolutions each on both ways, transposed ones between."""
    unet = DAE(DAEConfig(preset="paper"), 128).unet
    widths = (64, 128, 256, 512)
    down = sum(9 * a * b + b + 9 * b * b + b for a, b in zip((1, *widths), widths, strict=False))
    up = sum(4 * 2 * c * c + c + 9 * 2 * c * c + c + 9 * c * c + c for c in widths[:-1])
    norms = 4 * sum(widths) + 4 * sum(widths[:-1])
    assert sum(p.numel() for p in unet.parameters()) == down + up + norms + 64 + 1 == 7_701_825
    assert [m.num_groups for m in unet.down[0] if hasattr(m, "num_groups")] == [8, 8]


def test_filters_of_a_standardised_convolution_have_mean_zero_and_spread_one():
    conv = StandardisedConv2d(3, 5, 3, padding=1, padding_mode="replicate")
    x = torch.rand(2, 3, 8, 8)
    flat = conv.weight.flatten(1)
    weight = ((flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True)).view_as(conv.weight)
    expected = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, conv.bias)
    torch.testing.assert_close(conv(x), expected, atol=1e-3, rtol=1e-3)
    with torch.no_grad():
        conv.weight.mul_(50).add_(3)
    torch.testing.assert_close(conv(x), expected, atol=1e-2, rtol=1e-2)


def test_a_unet_sees_far_and_keeps_what_is_near():
    unet = UNet((4, 8, 8))
    x = torch.rand(1, 1, 32, 32, requires_grad=True)
    y = unet(x)
    assert y.shape == x.shape
    (gradient,) = torch.autograd.grad(y[0, 0, 16, 16], x)
    assert gradient[0, 0].abs().argmax() // 32 in range(12, 21)
    assert gradient[0, 0, 2, 2] != 0
