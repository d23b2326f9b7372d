import pytest
import torch
from looking import SIZE, SMALL, pictures
from pydantic import ValidationError

from ra_core.errors import WeightsError
from ra_core.models import features
from ra_core.models.configs import FlowConfig, PaDiMConfig, PatchCoreConfig, PerceptualAEConfig, RAConfig
from ra_core.models.configs.perceptual import CHANNELS
from ra_core.models.features import drawn_channels, features_hash, patch_features
from ra_core.models.registry import build_method
from ra_core.models.shared import shared_tensors

KINDS = (PaDiMConfig, PatchCoreConfig, FlowConfig)


def test_channels_are_those_of_the_networks(untrained_perceptual):
    found = untrained_perceptual.features(pictures(1))
    assert CHANNELS["alex"] == tuple(level.shape[1] for level in found)


def test_features_are_parts_of_unit_vectors_on_one_grid(untrained_perceptual):
    found = patch_features(untrained_perceptual, pictures(3), (0, 2), 64, 8)
    assert found.shape == (3, 64 + 384, 8, 8)
    assert found.dtype == torch.float32
    assert found.min() >= 0
    for level in found.split([64, 384], 1):
        assert torch.linalg.vector_norm(level, dim=1).max() <= 1 + 1e-5


def test_finer_levels_are_averaged_and_coarser_ones_enlarged(untrained_perceptual):
    x = pictures(1)
    levels = [features.unit_length(level) for level in untrained_perceptual.features(x)]
    assert levels[0].shape[-1] == 15
    fine = patch_features(untrained_perceptual, x, (0,), SIZE, 5)
    torch.testing.assert_close(fine[0, :, 0, 0], levels[0][0, :, :3, :3].mean((1, 2)))
    coarse = patch_features(untrained_perceptual, x, (0,), SIZE, 15)
    torch.testing.assert_close(coarse, levels[0])


def test_images_are_brought_to_the_side_first(untrained_perceptual):
    x = pictures(2, 128)
    low = torch.nn.functional.avg_pool2d(x, 2)
    found = (patch_features(untrained_perceptual, image, (1,), 64, 4) for image in (x, low))
    torch.testing.assert_close(*found)


def test_the_same_channels_are_drawn_each_time():
    torch.rand(3)
    first = drawn_channels(640, 100)
    torch.rand(5)
    assert torch.equal(first, drawn_channels(640, 100))
    assert len(set(first.tolist())) == 100
    assert torch.equal(first, first.sort().values)
    assert torch.equal(drawn_channels(20, 20), torch.arange(20))


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_is_no_part_of_a_method(kind, untrained_perceptual):
    method = build_method(kind(**SMALL), SIZE, 0)
    method.look_through(untrained_perceptual)
    names = set(method.state_dict())
    assert not any("net" in name or "slice" in name for name in names)
    assert {name.partition(".")[0] for name in shared_tensors(method)} == set(kind.parts)
    assert names - set(shared_tensors(method)) == ({"bank"} if kind is PatchCoreConfig else set())
    assert bool(kind.local_only) == (not kind.parts)


def test_methods_are_told_by_the_network_that_they_look_through(monkeypatch, untrained_perceptual):
    asked = []
    monkeypatch.setattr(features, "pretrained", lambda *of: asked.append(of) or untrained_perceptual)
    assert features_hash(PaDiMConfig(net="vgg")) == untrained_perceptual.digest
    assert features_hash(RAConfig()) == ""
    assert [(config.net, config.weights, device) for config, device in asked] == [("vgg", None, "cpu")]


def test_a_network_needed_in_training_alone_counts_too(monkeypatch, untrained_perceptual):
    monkeypatch.setattr(features, "pretrained", lambda *_: untrained_perceptual)
    assert features.network_hash(PerceptualAEConfig()) == untrained_perceptual.digest
    assert features_hash(PerceptualAEConfig()) == features.network_hash(RAConfig()) == ""


def test_where_to_get_a_methods_network_names_no_setting(monkeypatch, tmp_path, nothing_loaded):
    monkeypatch.setenv("RA_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsError, match="no pretrained weights of 'alex'") as caught:
        features.features_hash(PaDiMConfig())
    assert "ra-simulate weights" in caught.value.hint
    assert "perceptual.weights" not in caught.value.hint


def test_a_network_first_loaded_in_inference_mode_lets_gradients_through(monkeypatch, nothing_loaded):
    from ra_core.models.configs import PerceptualConfig
    from ra_core.perceptual import Perceptual

    def load(_, device):
        import lpips

        return Perceptual(lpips.LPIPS(net="alex", pnet_rand=True, verbose=False), torch.device(device))

    monkeypatch.setattr(Perceptual, "load", load)
    with torch.inference_mode():
        features.pretrained(PerceptualConfig(), "cpu")
    x = pictures(1).requires_grad_()
    features.pretrained(PerceptualConfig(), "cpu").features(x)[0].sum().backward()
    assert x.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        (PaDiMConfig, {"levels": (5,)}, "levels"),
        (PaDiMConfig, {"levels": (1, 1)}, "levels"),
        (PaDiMConfig, {"levels": (0,), "channels": 65}, "channels 65"),
        (FlowConfig, {"levels": (0,), "channels": 65}, "channels 65"),
        (FlowConfig, {"position": 6}, "position"),
        (PatchCoreConfig, {"neighbourhood": 2}, "no middle"),
        (PaDiMConfig, {"weights": "/etc/weights.pth"}, "weights"),
    ],
)
def test_settings_that_cannot_be_are_refused(kind, settings, reason):
    with pytest.raises(ValidationError, match=reason):
        kind(**settings)


@pytest.mark.parametrize("kind", KINDS)
def test_presets_are_valid(kind):
    assert kind(preset="paper").net == "vgg"
    assert kind(preset="small") == kind()
