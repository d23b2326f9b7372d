"""Tensors and facts in one safetensors file, written atomically: what checkpoints and model files are made of."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

__all__ = ["cache_folder", "load_tensors", "save_tensors", "sweep", "write_atomically"]


def cache_folder() -> Path:
    """Our folder for things that can be made again: the environment variable RA_CACHE, else the user's cache."""
    return Path(os.environ.get("RA_CACHE") or user_cache_path("federated-ra", appauthor=False))


def write_atomically(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file so that a crash at any moment leaves either the old or the new one, never half of it.

    Args:
        path: its folder is made where it is missing.
        content: the whole file.
        mode: rights of the file, less the process's umask.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    half_written = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(half_written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        half_written.replace(path)
    finally:
        half_written.unlink(missing_ok=True)


def sweep(folder: Path, pattern: str = "") -> None:
    """Delete what killed processes had not finished writing with `write_atomically`.

    Args:
        folder: where it lies.
        pattern: "**/" looks into the folders under it too.
    """
    for half_written in folder.glob(pattern + ".*." + 8 * "[0-9a-f]"):
        half_written.unlink(missing_ok=True)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and JSON facts to one file, atomically.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(contiguous, metadata={"facts": json.dumps(facts)}))


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
