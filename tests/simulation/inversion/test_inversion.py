"""An image is drawn from an update where it can be, and isn't where noise forbids it."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from ra_core.errors import ConfigError
from ra_core.fixed_point import RESOLUTION, decode, encode
from ra_core.privacy.accounting import Releases, epsilon_of
from simulation.cli import app
from simulation.inversion import run
from simulation.inversion.attack import Gradient, layer_input, layer_inputs_of, undo_adam
from simulation.inversion.run import attempt
from simulation.inversion.updates import DELTA, SCENARIOS, Scenario, first_model, sent

pytestmark = pytest.mark.slow

SIZE = 16
ONE = Scenario("one")
DP = Scenario("private", noise=1.0)


def images(count=30, seed=0):
    """Smooth blobs, each its own."""
    coarse = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(SIZE, SIZE), mode="bicubic").clamp(0, 1)


@settings(deadline=None)
@given(exponents=st.lists(st.floats(-8, 0), min_size=1, max_size=20), rate=st.sampled_from([1e-3, 3e-4]))
def test_a_step_of_adam_is_undone_where_it_is_not_the_rate_itself(exponents, rate):
    true = torch.tensor([(-1) ** i * 10.0**e for i, e in enumerate(exponents)])
    weights = torch.nn.Parameter(torch.zeros(len(true)))
    weights.grad = true.clone()
    torch.optim.Adam([weights], lr=rate).step()
    found = undo_adam(torch.from_numpy(decode(encode(weights.detach().numpy()))), rate)
    assert (found.value.sign() == true.sign()).all()
    torch.testing.assert_close(found.value[found.known].float(), true[found.known], rtol=0.15, atol=0)
    assert (found.value[~found.known].abs() <= 1.01 * true[~found.known].abs()).all()
    assert found.known[true.abs() < 1e-6].all()
    assert not found.known[true.abs() > 1e-3].any()


@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_any_linear_layer_tells_its_input(missing):
    draws = torch.Generator().manual_seed(0)
    given = torch.randn(40, generator=draws)
    errors = torch.randn(30, generator=draws).double()
    unseen = torch.rand(30, 40, generator=draws) < missing
    table = torch.outer(errors, given.double())
    weight = Gradient(torch.where(unseen, 1e-3 * table, table), ~unseen)
    found = layer_input(weight, Gradient(errors, torch.ones(30, dtype=torch.bool)))
    assert F.cosine_similarity(found, given, dim=0) > 0.999


def test_the_input_in_an_update_is_what_the_encoder_gave():
    x, model = images(1), first_model(ONE, SIZE, 0)
    update = sent(ONE, model, x, 3)
    layer = [undo_adam(update[f"encoder.head.{name}"], ONE.rate) for name in ("weight", "bias")]
    true = layer_inputs_of(model.encoder, x)[0]
    assert F.cosine_similarity(layer_input(*layer), true, dim=0) > 0.999


def test_an_update_is_a_sites_and_leaves_the_model_as_it_is():
    x, model = images(1), first_model(ONE, SIZE, 0)
    before = {name: p.clone() for name, p in model.named_parameters()}
    first, again = sent(ONE, model, x, 3), sent(ONE, model, x, 3)
    assert first.keys() == before.keys()
    for name, update in first.items():
        assert torch.equal(update, again[name])
        assert torch.equal(update, (update / RESOLUTION).round() * RESOLUTION)
        assert torch.equal(before[name], dict(model.named_parameters())[name])
        assert update.abs().max() <= 1.001 * ONE.rate
    private = sent(DP, model, x, 3), sent(DP, model, x, 3)
    assert any(not torch.equal(private[0][name], private[1][name]) for name in first)


def test_an_image_is_drawn_from_one_update_and_not_from_a_private_one():
    x = images()
    mean = x[4:].mean(0, keepdim=True)
    blind = -10 * (x[:4] - mean).square().flatten(1).mean(1).log10().numpy()
    plain, private = (attempt(scenario, x, 4, 300, 0) for scenario in (ONE, DP))
    assert plain.recognised.all()
    assert (plain.psnr > blind + 3).all()
    assert (plain.ssim > 0.8).all()
    assert not (private.psnr > blind).any()
    assert (private.ssim < 0.3).all()


def test_the_attack_is_deterministic_but_for_the_systems_noise():
    x = images()
    first, again = (attempt(ONE, x, 1, 5, 0) for _ in range(2))
    assert torch.equal(first.drawn, again.drawn)


def test_of_a_batch_the_nearest_counts():
    x = images()
    found = attempt(Scenario("three", images=3), x, 2, 5, 0)
    errors = (x[[0, 28, 29]] - found.drawn[0]).square().flatten(1).mean(1)
    assert found.psnr[0] == pytest.approx(float(-10 * errors.min().log10()))


def test_epsilon_is_the_accountants():
    by_name = {scenario.name: scenario for scenario in SCENARIOS}
    assert [scenario.epsilon for scenario in SCENARIOS if not scenario.noise] == [None] * 4
    assert by_name["1 image, 1 step, DP"].epsilon == epsilon_of([Releases(1.0, 1.0, 1)], DELTA)
    assert by_name["1 image, 1 step, DP without noise"].epsilon > 1e6
    assert replace(DP, steps=3).epsilon > DP.epsilon


def test_the_command_writes_a_picture_and_numbers_and_prints_them(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "OTHERS", 9)
    result = CliRunner().invoke(
        app, ["invert", "--out", str(tmp_path), "--patients", "2", "--size", "16", "--iterations", "2"]
    )
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "inversion.json").read_text())
    assert [row["name"] for row in rows] == ["mean image, no update", *(scenario.name for scenario in SCENARIOS)]
    for row in rows:
        value, low, high = row["psnr"]
        assert low <= value <= high
        assert row["patients"] == 2
        assert f"{value:.2f} ({low:.2f} to {high:.2f})" in result.stdout
    picture = np.asarray(Image.open(io.BytesIO((tmp_path / "inversion.png").read_bytes())))
    assert picture.std() > 10


def test_a_size_that_no_model_takes_is_refused(tmp_path):
    result = CliRunner().invoke(app, ["invert", "--out", str(tmp_path / "out"), "--size", "30"])
    assert isinstance(result.exception, ConfigError)
    assert not (tmp_path / "out").exists()
