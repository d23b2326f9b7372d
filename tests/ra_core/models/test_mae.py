from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from ra_core.artifact import model_hash
from ra_core.config import AugmentationConfig, FederationConfig, TrainingConfig
from ra_core.data import HeldImages
from ra_core.models.configs import MAEConfig
from ra_core.models.mae import MAE, fixed_orders
from ra_core.models.method import StepState
from ra_core.models.registry import build_method
from ra_core.models.shared import shared_tensors
from ra_core.rng import generator
from ra_core.training import LocalTrainer

SIZE = 32
TINY = MAEConfig(patch=8, dim=32, depth=1, heads=2, decoder_depth=1, masks=4, learning_rate=3e-3)


def discs(count, seed=0, sick=False):
    """Bright discs of changing size and place on black; a sick one has a dark hole."""
    draws = torch.rand(count, 3, 1, 1, generator=generator(seed, "discs"))
    line = torch.arange(SIZE).float()
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    centre = 15.5 + 3 * (draws[:, :2] - 0.5)
    x = ((rows - centre[:, 0]).hypot(columns - centre[:, 1]) < 11 + 2 * draws[:, 2]).float() * 0.8
    hole = (rows - 13).hypot(columns - 18) < 4
    return torch.where(hole & torch.tensor(sick), 0.1, x)[:, None]


def trained(config, x, steps, runtime):
    still = AugmentationConfig(rotate_degrees=0, shift=0, scale=0)
    training = TrainingConfig(steps=steps, batch_size=min(len(x), 32), validate_every=steps, augmentation=still)
    trainer = LocalTrainer(build_method(config, SIZE, 0), HeldImages(x), HeldImages(x[:2]), training, runtime, 0)
    trainer.run(steps)
    return trainer.method.eval()


@pytest.fixture(scope="module")
def method(runtime):
    return trained(TINY, discs(64), 100, runtime)


def reconstructed(method, x):
    with torch.inference_mode():
        return method.reconstruct(x)


def test_presets_have_the_authors_sizes():
    paper = MAE(MAEConfig(preset="paper"), 128)
    assert sum(p.numel() for p in paper.parameters()) == 63_575_808
    assert (len(paper.encoder.blocks), len(paper.decoder.blocks)) == (12, 8)
    assert paper.orders.shape == (30, 64)
    assert paper.visible == 16
    assert sum(p.numel() for p in MAE(MAEConfig(), 64).parameters()) == 1_223_360


def test_positions_are_sines_and_cosines_of_row_and_column():
    positions = MAE(TINY, SIZE).encoder.positions.numpy()
    rates = 1 / 10_000 ** (np.arange(8) / 8)
    for place in range(16):
        parts = [f(at * rates) for f in (np.sin, np.cos) for at in divmod(place, 4)]
        np.testing.assert_allclose(positions[place], np.concatenate(parts), atol=1e-6)


@pytest.mark.parametrize(("patches", "visible"), [(64, 16), (16, 4), (9, 4), (4, 1), (100, 25), (49, 24)])
@pytest.mark.parametrize("count", [2, 3, 8, 30])
def test_masks_hide_every_patch_about_equally_often(count, patches, visible):
    orders = fixed_orders(count, patches, visible)
    assert torch.equal(orders.sort(1).values, torch.arange(patches).expand(count, -1))
    hidden = count - torch.stack([(orders[:, :visible] == place).sum() for place in range(patches)])
    assert hidden.min() >= 1
    assert hidden.max() - hidden.min() <= 1 + count // (patches // visible) * (patches % visible > 0)
    assert torch.equal(orders, fixed_orders(count, patches, visible))


def test_nothing_of_a_patch_gets_into_its_own_reconstruction(method):
    x = discs(1, seed=3)
    other = x.clone()
    other[..., 8:16, 16:24] = torch.rand(8, 8, generator=generator(0, "patch"))
    before, after = reconstructed(method, x), reconstructed(method, other)
    assert torch.equal(before[..., 8:16, 16:24], after[..., 8:16, 16:24])
    assert not torch.equal(before, after)


def test_a_reconstruction_is_the_mean_of_the_predictions_while_hidden(method):
    x = discs(2, seed=3)
    total, times = torch.zeros(2, SIZE, SIZE), torch.zeros(SIZE, SIZE)
    with torch.inference_mode():
        for order in method.orders:
            seen = method.encoder(x, order[None, : method.visible].expand(2, -1))
            predicted = method.decoder(seen, order[None].expand(2, -1))
            for place in order[method.visible :].tolist():
                row, column = (8 * at for at in divmod(place, 4))
                total[:, row : row + 8, column : column + 8] += predicted[:, place].view(2, 8, 8)
                times[row : row + 8, column : column + 8] += 1
    torch.testing.assert_close(reconstructed(method, x)[:, 0], (total / times).clamp(0, 1))


def test_a_step_descends_the_error_of_hidden_patches_alone(method, monkeypatch):
    found = {}
    monkeypatch.setattr(StepState, "descend", lambda _, name, loss, *parts: found.update(loss=loss, parts=parts))
    x = discs(3, seed=5)
    state = StepState(7, 1, {}, nullcontext, torch.device("cpu"))
    terms = method.training_step(x, state)
    order = state.noise("masks", 3, 16).argsort(1)
    errors = []
    for image, row in zip(x, order, strict=True):
        predicted = method.decoder(method.encoder(image[None], row[None, :4]), row[None])[0]
        for place in row[4:].tolist():
            r, c = (8 * at for at in divmod(place, 4))
            errors.append((predicted[place].view(8, 8) - image[0, r : r + 8, c : c + 8]).square().mean())
    assert len(errors) == 36
    assert found["loss"].item() == pytest.approx(torch.stack(errors).mean().item(), rel=1e-5)
    assert terms == {"error": found["loss"].item()}
    assert found["parts"] == ("encoder", "decoder")
    assert len({tuple(row.tolist()) for row in order}) == 3


def test_it_overfits_a_handful_of_images(runtime):
    x = torch.nn.functional.interpolate(torch.rand(4, 1, 4, 4, generator=generator(0, "x")), size=SIZE, mode="bilinear")
    found = reconstructed(trained(TINY, x.repeat(8, 1, 1, 1), 300, runtime), x)  # eight masks of each in a step
    assert (found - x).square().mean() < 0.4 * (x - x.mean(0)).square().mean()


def test_a_healthy_image_is_explained_better_than_a_sick_one(method):
    with torch.inference_mode():
        healthy, sick = method.healthy_error(discs(8, seed=9)), method.healthy_error(discs(8, seed=9, sick=True))
    assert (sick > 1.5 * healthy).all()


def test_the_hole_of_a_sick_image_is_filled(method):
    sick = discs(8, seed=9, sick=True)
    hole = discs(8, seed=9) - sick > 0.5
    assert reconstructed(method, sick)[hole].mean() > 0.4


def test_scoring_is_deterministic_and_each_image_is_by_itself(method):
    x = discs(4, seed=2)
    first = reconstructed(method, x)
    torch.rand(2)
    assert torch.equal(first, reconstructed(method, x))
    assert torch.equal(first[:2], reconstructed(method, torch.cat([x[:2], torch.rand(2, 1, SIZE, SIZE)]))[:2])
    torch.testing.assert_close(first[1:2], reconstructed(method, x[1:2]))
    assert 0 <= first.min() <= first.max() <= 1


def test_training_depends_on_the_seed_alone(runtime):
    x = discs(8)
    first = trained(TINY, x, 3, runtime)
    torch.rand(2)
    assert model_hash(first) == model_hash(trained(TINY, x, 3, runtime))


def test_positions_and_masks_are_not_shared_and_norms_may_stay():
    method = build_method(TINY, SIZE, 0)
    everything = {name for name, _ in method.named_parameters()}
    assert set(shared_tensors(method)) == everything
    norms = {name for name in everything if isinstance(method.get_submodule(name.rpartition(".")[0]), nn.LayerNorm)}
    assert len(norms) == 2 * (2 + 2 + 2)  # two parts; two norms of a block and a last one, weight and bias
    local = FederationConfig(local_norms=True)
    assert set(shared_tensors(method, local)) == everything - norms


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"heads \(3\) must divide dim"):
        MAEConfig(dim=64, heads=3)
    with pytest.raises(ValueError, match="no multiple of the patch"):
        MAE(TINY, 36)
    with pytest.raises(ValueError, match="not at least two"):
        MAE(TINY, 8)
