"""What all methods promise of their scores: an image's are its own each time, and those of the model's file."""

from contextlib import nullcontext

import artifacts
import numpy as np
import pytest
import torch
from looking import SIZE, SMALL, pictures

from ra_core.artifact import Artifact, load_artifact, model_hash, save_artifact
from ra_core.errors import ArtifactError
from ra_core.models import ae_perceptual, features
from ra_core.models.configs import CONFIGS
from ra_core.models.method import StepState
from ra_core.models.registry import build_method
from ra_core.scoring import Scorer
from ra_core.site_scorer import SiteScorer

CPU = torch.device("cpu")
NARROW = {"channels": (4, 8, 8), "latent": 4}
TINY = {
    "ra": NARROW,
    "soft_intro_vae": NARROW,
    "vae": NARROW,
    "beta_vae": NARROW,
    "dae": {"channels": (4, 8)},
    "ae_perceptual": NARROW,
    "mae": {"patch": 8, "dim": 16, "depth": 1, "heads": 2, "decoder_depth": 1, "masks": 2},
    "ddpm": {"channels": (8, 8), "wavelength": 16, "octaves": 2, "denoising_steps": 2},
    "padim": SMALL | {"channels": 20},
    "patchcore": SMALL | {"share": 0.5},
    "flow": SMALL | {"channels": 16, "hidden": 32, "position": 8},
    "nearest_neighbour": {},
    "pca": {"components": 4},
    "mahalanobis": {"components": 4},
}


@pytest.fixture
def ready(untrained_perceptual, monkeypatch):
    """A method that has seen a few images."""
    for module in (features, ae_perceptual):
        monkeypatch.setattr(module, "pretrained", lambda *_: untrained_perceptual)

    def make(config):
        method = build_method(config, SIZE, 0)
        if config.fitted:
            method.fit(pictures(12).split(5))
        else:
            method.train().training_step(pictures(4), StepState(0, 0, method.optimizers(), nullcontext, CPU))
        return method.eval()

    return make


@pytest.mark.parametrize("name", CONFIGS)
def test_scores_are_an_images_own_and_those_of_the_models_file(name, ready, untrained_perceptual, tmp_path):
    config, x = CONFIGS[name](**TINY[name]), pictures(3, seed=1)
    method = ready(config)
    site = SiteScorer.fit(method, Scorer(untrained_perceptual), method.scorings, [pictures(4, seed=2)], CPU)
    found, alone = site.scores([x]), site.scores(x.split(1))
    assert set(found) == {scoring.name for scoring in method.scorings}
    for scoring, scores in found.items():
        assert np.ptp(scores) > 0
        np.testing.assert_allclose(alone[scoring], scores, rtol=0.01, err_msg=scoring)  # equalising has steps
    facts = {"method": config, "model_hash": model_hash(method), "features": features.features_hash(config)}
    artifact = Artifact(method, artifacts.new_artifact(SIZE, **facts).card)
    if config.local_only:
        with pytest.raises(ArtifactError, match="its bank holds"):
            save_artifact(tmp_path, artifact)
        return
    save_artifact(tmp_path, artifact)
    again = SiteScorer(load_artifact(tmp_path).method, site.scorer, site.scorings, site.healthy, CPU).scores([x])
    for scoring, scores in found.items():
        np.testing.assert_array_equal(again[scoring], scores, err_msg=scoring)
