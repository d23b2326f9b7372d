"""Real processes: a folder with everything a tiny run needs, and the commands in it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torchvision
import yaml

from ra_core.storage import load_tensors

SITE = {
    "name": "Discs",
    "anatomy": "none",
    "modality": "OT",
    "data": {"site": "discs"},
    "runtime": {"threads": 1},
}
STUDY = {
    "preprocessing": {"size": 64},
    "method": {"channels": [4, 8, 8], "latent": 8, "warmup_steps": 10},
    "training": {"steps": 40, "batch_size": 4, "validate_every": 10, "checkpoint_every": 5, "precision": "fp32"},
    "evaluation": {"bootstrap": 100, "gallery": 2, "reference_images": 8},
}
SIMULATE = (sys.executable, "-m", "simulation.cli")
PATIENCE = 900
"""Seconds after which a process is taken for hung."""


@dataclass(frozen=True)
class Finished:
    """What a process left behind."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Desk:
    """A folder with `site.yaml` and `study.yaml`; every command runs in it and writes to `out`."""

    folder: Path
    data: Path
    env: dict[str, str]
    prefix: tuple[str, ...] = ()
    steps = STUDY["training"]["steps"]

    @property
    def out(self):
        return self.folder / "out"

    def save(self, name, settings):
        (self.folder / name).write_text(yaml.safe_dump(settings), encoding="utf-8")

    def with_env(self, **env):
        return replace(self, env=self.env | env)

    def start(self, *args, program=SIMULATE):
        return subprocess.Popen(  # noqa: S603 - our own command
            [*self.prefix, *program, *map(str, args)],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *args, program=SIMULATE):
        return self.finish(self.start(*args, program=program))

    @staticmethod
    def finish(process):
        """Wait for the end of a process."""
        try:
            stdout, stderr = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
        return Finished(process.returncode, stdout, stderr)

    @property
    def train_command(self):
        return ("train", "site.yaml", "--data", self.data, "--study", "study.yaml", "--out", "out")

    def train(self, *more):
        return self.run(*self.train_command, *more)

    def record(self):
        """What `run.json` says, or nothing where there is none yet."""
        path = self.out / "run.json"
        return json.loads(path.read_text()) if path.exists() else {}

    @property
    def checkpoint(self):
        return self.out / "arms" / "local_discs" / "checkpoint.safetensors"

    def checkpoint_step(self):
        path = self.checkpoint
        return load_tensors(path)[1]["step"] if path.exists() else 0

    def outcome(self):
        """What has to be equal, bit for bit, between runs of one plan."""
        return self.record()["model_hash"], (self.out / "results.csv").read_bytes()

    def files(self):
        return sorted(str(path.relative_to(self.out)) for path in self.out.rglob("*"))


@pytest.fixture(scope="session")
def weights_file(tmp_path_factory):
    """AlexNet's features with random weights, by torchvision's names: LPIPS without a download."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = torchvision.models.alexnet(weights=None).features.state_dict()
    path = tmp_path_factory.mktemp("weights") / "alex.pth"
    torch.save({f"features.{name}": tensor for name, tensor in state.items()}, path)
    return path


@pytest.fixture(scope="session")
def make_desk(site_root, weights_file, tmp_path_factory) -> Callable[[Path], Desk]:
    """A desk in a given folder. All share one image cache; nothing else of this machine is seen."""
    places = tmp_path_factory.mktemp("places")
    hidden = ("PYTHONPATH", "RA_DATA")
    env = {name: value for name, value in os.environ.items() if name not in hidden} | {
        "RA_CACHE": str(places / "cache"),
        "TORCH_HOME": str(places / "torch"),
        "OMP_NUM_THREADS": "1",
        "PIP_NO_INDEX": "1",  # even the package index is not asked
    }

    def make(folder):
        desk = Desk(folder, site_root, env)
        desk.save("site.yaml", SITE)
        desk.save("study.yaml", STUDY | {"perceptual": {"weights": str(weights_file)}})
        return desk

    return make


@pytest.fixture
def desk(make_desk, tmp_path):
    return make_desk(tmp_path)


@pytest.fixture(scope="session")
def finished(make_desk, tmp_path_factory):
    """The desk of a run that nothing disturbed. Look, don't touch."""
    desk = make_desk(tmp_path_factory.mktemp("finished"))
    process = desk.train()
    assert process.code == 0, process.stderr
    return desk


@pytest.fixture
def start_until():
    """Start a command, training if none is given, and hand over the process as soon as a condition holds.

    It is killed at the end.
    """
    started = []

    def start(desk, condition, *command, program=SIMULATE):
        process = desk.start(*(command or desk.train_command), program=program)
        started.append(process)
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert process.poll() is None, desk.finish(process)
            assert time.monotonic() < deadline, "the moment never came"
            time.sleep(0.005)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
