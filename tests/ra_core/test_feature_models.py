"""Model files of methods that look at images through a pretrained network, and of those that hold images."""

import artifacts
import lpips
import pytest
import torch
from looking import SIZE, SMALL, pictures
from scorable import head

from ra_core.artifact import Artifact, load_artifact, model_hash, save_artifact
from ra_core.errors import ArtifactError, WeightsError
from ra_core.model import load
from ra_core.models import features
from ra_core.models.configs import MahalanobisConfig, NearestNeighbourConfig, PaDiMConfig, PatchCoreConfig
from ra_core.models.registry import build_method
from ra_core.perceptual import Perceptual
from ra_core.scoring import DISTANCE_SCORINGS

PADIM = PaDiMConfig(**SMALL, channels=20)


@pytest.fixture(scope="module")
def other_perceptual():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Perceptual(lpips.LPIPS(net="alex", pnet_rand=True, verbose=False), torch.device("cpu"))


@pytest.fixture
def installed(monkeypatch):
    """Puts a network on this machine."""

    def install(network):
        monkeypatch.setattr(features, "pretrained", lambda *_: network)
        monkeypatch.setattr("ra_core.model.pretrained", lambda *_: network)

    return install


def fitted(config, digest=""):
    method = build_method(config, SIZE, 0).eval()
    method.fit(pictures(12).split(5))
    facts = {"method": config, "model_hash": model_hash(method), "features": digest}
    return Artifact(method, artifacts.new_artifact(SIZE, **facts).card)


@pytest.fixture
def artifact(installed, untrained_perceptual):
    installed(untrained_perceptual)
    return fitted(PADIM, untrained_perceptual.digest)


@pytest.fixture
def folder(artifact, tmp_path):
    save_artifact(tmp_path / "model", artifact)
    return tmp_path / "model"


def test_reading_a_model_needs_no_network(folder, monkeypatch):
    def nowhere(*_):
        raise WeightsError("no pretrained weights")

    monkeypatch.setattr(features, "pretrained", nowhere)
    monkeypatch.setattr("ra_core.model.pretrained", nowhere)
    load_artifact(folder)
    with pytest.raises(WeightsError):
        load(folder)


def test_a_model_is_not_scored_with_another_network(folder, installed, other_perceptual, untrained_perceptual):
    load(folder)
    installed(other_perceptual)
    with pytest.raises(
        ArtifactError, match=f"{untrained_perceptual.digest[:12]}, and .*{other_perceptual.digest[:12]}"
    ):
        load(folder)


def test_a_model_is_not_stored_where_there_is_another_network(artifact, installed, other_perceptual, tmp_path):
    installed(other_perceptual)
    with pytest.raises(ArtifactError, match="needs the features"):
        save_artifact(tmp_path / "model", artifact)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("told", ["", "a" * 63, "A" * 64])
def test_a_card_that_does_not_name_the_network_is_refused(folder, told):
    artifacts.edit_card(folder, features=told)
    with pytest.raises(ArtifactError, match="features"):
        load_artifact(folder)


def test_a_card_with_a_network_that_its_method_does_not_use_is_refused(tmp_path):
    save_artifact(tmp_path, artifacts.new_artifact())
    artifacts.edit_card(tmp_path, features="a" * 64)
    with pytest.raises(ArtifactError, match="features"):
        load_artifact(tmp_path)


def test_two_networks_make_two_identities(folder, installed, other_perceptual):
    first = load(folder).identity
    artifacts.edit_card(folder, features=other_perceptual.digest)
    installed(other_perceptual)
    assert load(folder).identity != first


def test_without_a_calibration_the_distance_itself_is_the_score(folder, tmp_path):
    found = load(folder)
    assert found.scoring == DISTANCE_SCORINGS[1]
    assert found.score(head((70, 60))).score > 0
    save_artifact(tmp_path / "whole", fitted(MahalanobisConfig(components=4)))
    whole = load(tmp_path / "whole")
    assert whole.scoring == DISTANCE_SCORINGS[0]
    result = whole.score(head((70, 60)))
    assert result.score == pytest.approx(result.small[0][0, 0], rel=1e-6)


@pytest.mark.parametrize("config", [NearestNeighbourConfig(), PatchCoreConfig(**SMALL)], ids=lambda c: c.name)
def test_a_bank_of_images_has_no_model_file(installed, untrained_perceptual, tmp_path, config):
    installed(untrained_perceptual)
    digest = features.features_hash(config)
    with pytest.raises(ArtifactError, match=f"no model files of {config.name}: its bank holds"):
        save_artifact(tmp_path / "bank", fitted(config, digest))
    assert not (tmp_path / "bank").exists()
    save_artifact(tmp_path, artifacts.new_artifact())
    artifacts.edit_card(tmp_path, method=config.model_dump(mode="json"), features=digest)
    with pytest.raises(ArtifactError, match="its bank holds"):
        load_artifact(tmp_path)
