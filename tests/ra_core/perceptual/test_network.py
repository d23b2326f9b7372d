import warnings
from pathlib import Path

import lpips
import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from safetensors.torch import save_file
from torch import Tensor

from ra_core.config import PerceptualConfig
from ra_core.errors import WeightsError
from ra_core.hashing import tensor_digest
from ra_core.perceptual import Perceptual
from ra_core.perceptual.network import PAIRS
from ra_core.perceptual.weights import cache_file, load_cached


def images(seed: int, n: int = 2, size: int = 64) -> Tensor:
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(seed))


def original(perceptual: Perceptual, net: str) -> lpips.LPIPS:
    """The package's own model, with its own forward pass, holding the same tensors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    model.load_state_dict(perceptual._net.state_dict())
    return model


def alexnet_by_hand(weights: dict[str, Tensor], image: np.ndarray) -> list[np.ndarray]:
    """AlexNet's rectified feature maps [(C, H, W), ...] in NumPy float64."""
    x = (image - np.array([-0.030, -0.088, -0.188])[:, None, None]) / np.array([0.458, 0.448, 0.450])[:, None, None]
    maps = []
    for layer, stride, pad, pool in (
        (0, 4, 2, False),
        (3, 1, 2, True),
        (6, 1, 1, True),
        (8, 1, 1, False),
        (10, 1, 1, False),
    ):
        if pool:
            x = sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2].max((3, 4))
        kernel, bias = (weights[f"features.{layer}.{part}"].double().numpy() for part in ("weight", "bias"))
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        windows = sliding_window_view(padded, kernel.shape[2:], (1, 2))[:, ::stride, ::stride]
        x = np.maximum(np.einsum("chwij,ocij->ohw", windows, kernel, optimize=True) + bias[:, None, None], 0)
        maps.append(x)
    return maps


def lpips_by_hand(weights: dict[str, Tensor], heads: list[np.ndarray], a: Tensor, b: Tensor) -> float:
    total = 0.0
    pair = [alexnet_by_hand(weights, 2 * np.repeat(x.double().numpy(), 3, axis=0) - 1) for x in (a, b)]
    for head, u, v in zip(heads, *pair, strict=True):
        difference = np.subtract(*(x / (np.linalg.norm(x, axis=0) + 1e-10) for x in (u, v)))
        total += (head[:, None, None] * difference**2).sum(0).mean()
    return total


def heads_of(net: str) -> list[np.ndarray]:
    path = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    state = torch.load(path, map_location="cpu", weights_only=True)
    return [tensor.double().numpy().ravel() for tensor in state.values()]


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_equals_the_package(net, fake, tmp_path) -> None:
    save_file(fake(net), tmp_path / "w.safetensors")
    perceptual = Perceptual.load(PerceptualConfig(net=net, weights=tmp_path / "w.safetensors"))
    a, b = images(1), images(2)
    rgb = [x.expand(-1, 3, -1, -1) for x in (a, b)]
    package = original(perceptual, net)
    mean = package(*rgb, normalize=True)
    package.spatial = True
    spatial = package(*rgb, normalize=True)
    torch.testing.assert_close(perceptual.distance_map(a, b), spatial, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(perceptual.distance(a, b), mean.flatten(), rtol=1e-5, atol=1e-8)


def test_equals_numpy_by_hand(alex, fake) -> None:
    a, b = images(1, n=1), images(2, n=1)
    by_hand = lpips_by_hand(fake("alex"), heads_of("alex"), a[0], b[0])
    assert alex.distance(a, b).item() == pytest.approx(by_hand, rel=1e-4)


def test_shapes_and_dtypes(alex) -> None:
    a, b = images(1, n=3, size=48), images(2, n=3, size=48)
    assert alex.distance_map(a, b).shape == (3, 1, 48, 48)
    assert alex.distance(a, b).shape == (3,)
    assert [f.shape[:2] for f in alex.features(a)] == [(3, c) for c in (64, 192, 384, 256, 256)]
    assert alex.distance_map(a.double(), b.double()).dtype == torch.float32


def test_zero_where_equal_symmetric_and_not_negative(alex) -> None:
    a, b = images(1), images(2)
    assert alex.distance_map(a, a.clone()).abs().max() == 0
    assert alex.distance(a, a.clone()).abs().max() == 0
    assert torch.equal(alex.distance_map(a, b), alex.distance_map(b, a))
    assert alex.distance_map(a, b).min() >= 0


def test_independent_of_batch_mates(alex) -> None:
    a, b = images(1, n=5), images(2, n=5)
    together = alex.distance_map(a, b)
    alone = torch.cat([alex.distance_map(x[None], y[None]) for x, y in zip(a, b, strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6 * together.max().item())


def test_more_pairs_than_are_compared_at_a_time_are_all_there_in_their_order(alex) -> None:
    a, b = images(1, n=PAIRS + 3, size=32), images(2, n=PAIRS + 3, size=32)
    whole = alex.distance_map(a, b)
    alone = torch.cat([alex.distance_map(x[None], y[None]) for x, y in zip(a, b, strict=True)])
    torch.testing.assert_close(whole, alone, rtol=1e-5, atol=1e-6 * whole.max().item())


def test_float32_under_autocast_and_repeatable(alex) -> None:
    a, b = images(1), images(2)
    plain = alex.distance_map(a, b)
    with torch.autocast("cpu", torch.bfloat16):
        inside = alex.distance_map(a, b)
        features = alex.features(a)
    assert torch.equal(inside, plain)
    assert {f.dtype for f in features} == {torch.float32}


def test_gradient_reaches_the_image_alone_and_is_finite(alex) -> None:
    a = images(1).requires_grad_()
    alex.distance_map(a, torch.zeros_like(a)).mean().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()
    assert a.grad.abs().max() > 0
    assert not any(p.requires_grad for p in alex._net.parameters())


def test_loading_shifts_no_draw_and_warns_of_nothing(fake, tmp_path) -> None:
    torch.save(fake("squeeze"), tmp_path / "w.pth")
    before = torch.random.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = Perceptual.load(PerceptualConfig(net="squeeze", weights=tmp_path / "w.pth"))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.digest == Perceptual.load(PerceptualConfig(net="squeeze", weights=tmp_path / "w.pth")).digest


def test_digest_is_of_all_tensors(alex) -> None:
    state = alex._net.state_dict()
    assert alex.digest == tensor_digest(state)
    assert {name.split(".")[0] for name in state} >= {"scaling_layer", "net", "lin0"}


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (1, 64, 64)])
def test_other_shapes_are_refused(alex, shape) -> None:
    with pytest.raises(ValueError, match=r"\(N, 1, H, W\)"):
        alex.features(torch.zeros(shape))


def test_unequal_shapes_are_refused(alex) -> None:
    with pytest.raises(ValueError, match="one shape"):
        alex.distance(images(1, n=1), images(2, n=2))


def test_weights_of_another_network_are_refused(fake, tmp_path) -> None:
    torch.save(fake("squeeze"), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth: not the weights of 'alex' \(features.0.weight is of shape"):
        Perceptual.load(PerceptualConfig(net="alex", weights=tmp_path / "w.pth"))


@pytest.mark.parametrize(("value", "reason"), [(None, "is missing"), (float("nan"), "NaN or infinity")])
def test_holes_in_the_weights_are_refused(fake, tmp_path, value, reason) -> None:
    weights = dict(fake("squeeze"))
    bias = weights.pop("features.0.bias")
    if value is not None:
        weights["features.0.bias"] = torch.full_like(bias, value)
    torch.save(weights, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=reason):
        Perceptual.load(PerceptualConfig(net="squeeze", weights=tmp_path / "w.pth"))


needs_weights = pytest.mark.skipif(
    not cache_file("alex").exists(), reason="run `ra-simulate weights` for the pretrained weights"
)


@pytest.fixture(scope="module")
def pretrained() -> Perceptual:
    return Perceptual.load(PerceptualConfig(net="alex", weights=cache_file("alex")))


@needs_weights
def test_pretrained_equals_numpy_by_hand(pretrained) -> None:
    a = images(1, n=1)
    b = torch.nn.functional.avg_pool2d(a, 5, 1, 2)
    by_hand = lpips_by_hand(load_cached("alex"), heads_of("alex"), a[0], b[0])
    assert pretrained.distance(a, b).item() == pytest.approx(by_hand, rel=1e-4)


@needs_weights
def test_pretrained_more_noise_is_farther(pretrained) -> None:
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    noise = images(1, n=1) - 0.5
    distances = [pretrained.distance(ramp, (ramp + s * noise).clip(0, 1)).item() for s in (0.05, 0.1, 0.2, 0.4)]
    assert distances == sorted(distances)
    assert distances[0] > 0


@needs_weights
def test_pretrained_map_is_largest_where_the_change_is(pretrained) -> None:
    a = torch.full((1, 1, 128, 128), 0.5)
    b = a.clone()
    b[..., 80:96, 20:36] = 1.0
    row, column = divmod(pretrained.distance_map(a, b).argmax().item(), 128)
    assert 70 <= row < 106
    assert 10 <= column < 46
