import copy

import pytest
import torch
from pydantic import ValidationError

from ra_core.data import HeldImages
from ra_core.errors import WeightsError
from ra_core.models.ae_perceptual import PerceptualAE, relative_difference
from ra_core.models.configs import PerceptualAEConfig
from ra_core.models.method import StepState
from ra_core.models.registry import build_method
from ra_core.models.shared import shared_tensors
from ra_core.rng import generator
from ra_core.training import LocalTrainer

SIZE = 32
TINY = {"channels": (4, 8, 8), "latent": 3}


def pictures(n=4):
    return torch.rand(n, 1, SIZE, SIZE, generator=generator(0, "pictures"))


def trainer(tiny_study, runtime, **settings):
    x = HeldImages(pictures())
    method = build_method(PerceptualAEConfig(**TINY, **settings), SIZE, 0)
    return LocalTrainer(method, x, x, tiny_study.training, runtime, 0)


@pytest.fixture
def network(monkeypatch, untrained_perceptual):
    asked = []

    def pretrained(config, device):
        asked.append((config.net, device))
        return untrained_perceptual

    monkeypatch.setattr("ra_core.models.ae_perceptual.pretrained", pretrained)
    untrained_perceptual.asked = asked
    return untrained_perceptual


def test_relative_difference_is_the_l1_distance_over_the_l1_norm():
    real = [torch.tensor([[[[1.0, 3.0]]], [[[2.0, 2.0]]]]), torch.ones(2, 1, 1, 1)]
    drawn = [torch.tensor([[[[2.0, 1.0]]], [[[2.0, 2.0]]]]), torch.tensor([[[[1.5]]], [[[0.0]]]])]
    torch.testing.assert_close(relative_difference(real, drawn), torch.tensor([(0.75 + 0.5) / 2, (0 + 1) / 2]))
    zero = [torch.zeros(1, 2, 3, 3)]
    assert relative_difference(zero, zero) == 0


def test_a_step_descends_pixels_and_features(tiny_study, runtime, monkeypatch, network):
    t = trainer(tiny_study, runtime, levels=(0, 2), w_rec=0.7, w_perceptual=0.2)
    x, model, found = t._batch(), copy.deepcopy(t.method), {}

    def capture(_, name, loss, *parts):
        parameters = [p for part in parts for p in t.method.shared_parts()[part].parameters()]
        found.update(loss=loss.item(), parts=parts, gradients=torch.autograd.grad(loss, parameters))

    monkeypatch.setattr(StepState, "descend", capture)
    t.run(1)
    x_hat = model.reconstruct(x)
    a, b = network.features(x), network.features(x_hat)
    parts = [(a[k] - b[k]).abs().sum((1, 2, 3)) / a[k].abs().sum((1, 2, 3)) for k in (0, 2)]
    loss = 0.7 * (x - x_hat).square().mean() + 0.2 * (0.5 * (parts[0] + parts[1])).mean()
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert found["parts"] == ("encoder", "decoder")
    for ours, theirs in zip(found["gradients"], torch.autograd.grad(loss, list(model.parameters())), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-3)
    assert network.asked == [("alex", "cpu")]


def test_features_alone_teach_the_autoencoder(tiny_study, runtime, network):
    t = trainer(tiny_study, runtime, w_rec=0.0)
    before = {name: tensor.clone() for name, tensor in t.method.state_dict().items()}
    t.run(2)
    assert not torch.equal(before["decoder.head.weight"], t.method.decoder.head.weight)
    assert not torch.equal(before["encoder.stem.0.weight"], t.method.encoder.stem[0].weight)


def test_the_pretrained_network_is_no_part_of_it(tiny_study, runtime, network):
    t = trainer(tiny_study, runtime)
    digest, names = network.digest, set(shared_tensors(t.method))
    t.run(2)
    assert network.digest == digest
    assert set(shared_tensors(t.method)) == names
    assert all(name.split(".")[0] in ("encoder", "decoder") for name in t.method.state_dict())
    assert not any(parameter.requires_grad for parameter in network._net.parameters())


def test_scoring_needs_no_weights_and_training_says_so(tiny_study, runtime, monkeypatch, tmp_path, nothing_loaded):
    monkeypatch.setenv("RA_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    t = trainer(tiny_study, runtime, net="squeeze")
    assert t.method.reconstruct(pictures()).shape == (4, 1, SIZE, SIZE)
    with pytest.raises(WeightsError, match="squeeze"):
        t.run(1)


@pytest.mark.parametrize(("bottleneck", "shape"), [("vector", (2, 3)), ("spatial", (2, 3, 4, 4))])
def test_the_code_is_all_that_the_decoder_gets(bottleneck, shape):
    method = PerceptualAE(PerceptualAEConfig(**TINY, bottleneck=bottleneck), SIZE).eval()
    x = pictures(2)
    assert method.encoder(x).shape == shape
    torch.testing.assert_close(method.decoder(method.encoder(x)), method.reconstruct(x))


def test_a_blurred_code_is_in_range_and_its_noise_is_laplaces(tiny_study, runtime, network):
    method = PerceptualAE(PerceptualAEConfig(**TINY, epsilon=4), SIZE)
    code = method._code(100 * pictures())
    assert 0 <= code.min() <= code.max() <= 1
    state = StepState(0, 0, {}, torch.no_grad, torch.device("cpu"))
    noise = method._blur(torch.zeros(20000), state)
    quantiles = torch.tensor([0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
    expected = torch.distributions.Laplace(0.0, 1 / 4).icdf(quantiles)
    torch.testing.assert_close(noise.quantile(quantiles), expected, atol=0.05, rtol=0.05)


def test_no_noise_is_drawn_in_scoring_and_some_in_training(tiny_study, runtime, network):
    x, losses = pictures(), []
    for epsilon in (1.0, 2.0):
        t = trainer(tiny_study, runtime, epsilon=epsilon)
        losses.append(t.method.reconstruct(x))
        t.run(1, lambda _, terms: losses.append(terms["loss"]))
    assert torch.equal(losses[0], losses[2])
    assert losses[1] != losses[3]


@pytest.mark.parametrize(("net", "levels"), [("alex", (5,)), ("squeeze", (7,)), ("vgg", (1, 1))])
def test_levels_are_different_ones_of_the_network(net, levels):
    with pytest.raises(ValidationError, match="levels"):
        PerceptualAEConfig(net=net, levels=levels)
