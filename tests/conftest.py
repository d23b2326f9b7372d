"""What several test packages need: small sites on disk, a small study, a perceptual network without a download."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from ra_core.config import StudyConfig
from ra_core.models import principal
from ra_core.models.features import pretrained
from ra_core.perceptual import Perceptual
from ra_core.runtime import Runtime

principal.SIDE = 16  # components of 64 x 64 pixels take seconds, and hundreds of tests have rows of PCA
os.fsync = lambda handle: None  # no test pulls the plug, and thousands of waits for the disk take a minute
settings.register_profile("fast", deadline=None, max_examples=25)  # no deadline: a busy machine fails no test
settings.register_profile("thorough", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
torch.set_num_threads(1)  # the tests' tensors are tiny: a second thread costs more than it gives
HEADER = "path,site,anatomy,modality,split,label,pathology,patient_id,region_mask,source,lesion_mask"


@pytest.fixture(scope="session")
def shared():
    """Real data beside the checkout, where there is any."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("no ../shared beside this checkout")
    return folder


@pytest.fixture(scope="session")
def runtime():
    from ra_core.config import RuntimeConfig

    return Runtime.resolve(RuntimeConfig(threads=torch.get_num_threads()), "fp32")


@pytest.fixture(scope="session")
def tiny_study():
    """Seconds on one core, yet every phase and branch is in it."""
    return StudyConfig.model_validate(
        {
            "preprocessing": {"size": 64},
            "method": {"channels": [4, 8, 8], "latent": 8, "warmup_steps": 4},
            "training": {"steps": 10, "batch_size": 4, "validate_every": 3, "checkpoint_every": 4},
            "evaluation": {"bootstrap": 100, "gallery": 2, "reference_images": 8},
        }
    )


@pytest.fixture(scope="session")
def untrained_perceptual():
    """LPIPS with random features: maps of the right kind without any weights on disk."""
    import lpips

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    return Perceptual(net, torch.device("cpu"))


@pytest.fixture
def nothing_loaded():
    """A process that has loaded no perceptual network yet, and leaves none to the tests after this one."""
    pretrained.cache_clear()
    yield
    pretrained.cache_clear()


class _Levels(torch.nn.Module):
    """Five levels of features, each half as fine as the one before."""

    def __init__(self):
        super().__init__()
        self.steps = torch.nn.ModuleList(torch.nn.Conv2d(3 if n == 0 else 4, 4, 3, 2, 1) for n in range(5))

    def forward(self, x):
        found = []
        for step in self.steps:
            x = step(x).relu()
            found.append(x)
        return found


@pytest.fixture(scope="session")
def few_channels():
    """Of LPIPS's parts, with 4 channels a level, for whole experiments: AlexNet takes a tenth of their time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = torch.nn.Module()
        net.scaling_layer, net.net = torch.nn.Identity(), _Levels()
        net.lins = torch.nn.ModuleList(torch.nn.Conv2d(4, 1, 1, bias=False) for _ in range(5))
        for head in net.lins:
            head.weight.data.abs_()
    return Perceptual(net, torch.device("cpu"))


def disc_image(rng, sick=False):
    """A 64 x 64 bright disc with texture; a sick one has a dark hole. Returns image and hole, both uint8."""
    rows, columns = np.mgrid[:64, :64]
    centre = 32 + rng.uniform(-3, 3, 2)
    disc = np.hypot(rows - centre[0], columns - centre[1]) < 22 + rng.uniform(-2, 2)
    image = disc * (150 + 40 * np.sin(rows / 4)) + rng.normal(0, 4, (64, 64))
    hole = np.hypot(rows - 30, columns - 38) < 6
    if sick:
        image = np.where(hole, 20, image)
    return image.clip(0, 255).astype(np.uint8), (hole * 255).astype(np.uint8)


@pytest.fixture(scope="session")
def site_root(tmp_path_factory):
    """A data root with one site 'discs': 12 train, 5 val, 6 healthy and 6 sick test images, with masks."""
    root = tmp_path_factory.mktemp("root")
    rng = np.random.default_rng(0)
    rows = []
    for split, label, count in (
        ("train", "healthy", 12),
        ("val", "healthy", 5),
        ("test", "healthy", 6),
        ("test", "anomalous", 6),
    ):
        for i in range(count):
            image, hole = disc_image(rng, label == "anomalous")
            name = f"{split}_{label}_{i}"
            Image.fromarray(image).save(root / f"{name}.png")
            mask = ""
            if label == "anomalous":
                mask = f"{name}_mask.png"
                Image.fromarray(hole).save(root / mask)
            pathology = "hole" if mask else ""
            rows.append([f"{name}.png", "discs", "none", "OT", split, label, pathology, name, "", "test", mask])
    with (root / "manifest.csv").open("w", newline="") as file:
        file.write(f"{HEADER}\n")
        csv.writer(file).writerows(rows)
    return root
