from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor

from ra_core.config import PerceptualConfig
from ra_core.perceptual import Perceptual

MODELS = {
    "alex": torchvision.models.alexnet,
    "vgg": torchvision.models.vgg16,
    "squeeze": torchvision.models.squeezenet1_1,
}
Fake = Callable[[str], dict[str, Tensor]]


@pytest.fixture(scope="session")
def fake() -> Fake:
    """Random weights of the right names and shapes, without the classifier that LPIPS doesn't use."""
    made: dict[str, dict[str, Tensor]] = {}

    def make(net: str) -> dict[str, Tensor]:
        if net not in made:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                state = MODELS[net](weights=None).features.state_dict()
            made[net] = {f"features.{name}": tensor for name, tensor in state.items()}
        return made[net]

    return make


@pytest.fixture(scope="session")
def alex(fake: Fake, tmp_path_factory: pytest.TempPathFactory) -> Perceptual:
    path = tmp_path_factory.mktemp("weights") / "alex.pth"
    torch.save(fake("alex"), path)
    return Perceptual.load(PerceptualConfig(net="alex", weights=path))


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Empty folders in place of torch's hub cache and our own."""
    hub, cache = tmp_path / "torch" / "hub" / "checkpoints", tmp_path / "cache"
    hub.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("RA_CACHE", str(cache))
    return hub, cache
