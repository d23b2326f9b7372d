"""Tensors and facts in one safetensors file, written atomically: what checkpoints and model files are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ra_core.files import write_atomically

__all__ = ["load_tensors", "save_tensors"]


def save_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], mode: int = 0o666) -> None:
    """Write tensors and JSON facts to one file, atomically; `mode` as of `write_atomically`.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(contiguous, metadata={"facts": json.dumps(facts)}), mode)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Read what `save_tensors` wrote. Nothing is unpickled.

    Raises:
        ValueError: the file is damaged or holds no facts.
        OSError: the file can't be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        return tensors, json.loads(metadata["facts"])
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path.name} is damaged or was not written by this program ({error})") from None
    except RuntimeError as error:  # torch maps the file by its name a moment after its header was read
        raise OSError(f"{path.name} went away while it was read") from error
