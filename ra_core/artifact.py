"""The model file: a folder with `model.safetensors`, `healthy.safetensors` and `card.json`.

The card says what the model is and how it came about; loading checks the weights against it and refuses what does not
fit. Nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from torch import Tensor

from ra_core.config import PreprocessingConfig
from ra_core.errors import ArtifactError
from ra_core.hashing import tensor_digest
from ra_core.models.method import GradientMethod
from ra_core.models.ra import RAConfig
from ra_core.models.registry import build_method
from ra_core.scoring import HealthyStatistics, ScoringConfig
from ra_core.settings import Config
from ra_core.storage import load_tensors, save_tensors, write_atomically

__all__ = ["Artifact", "Card", "DataSummary", "healthy_hash", "load_artifact", "model_hash", "save_artifact"]


class DataSummary(Config):
    """What one site's model learned from, in counts."""

    site: str
    train_images: int
    train_patients: int
    val_images: int
    val_patients: int


class Card(Config):
    """What a model is and how it came about."""

    format: Literal[1] = 1
    method: RAConfig
    preprocessing: PreprocessingConfig
    seed: int
    steps: int
    selected_step: int
    rounds: int
    sites: tuple[str, ...]
    data: tuple[DataSummary, ...]
    runtime: dict[str, str | int]
    software: dict[str, str]
    scoring: ScoringConfig
    pixel_threshold: float
    perceptual_net: str
    perceptual_hash: str
    metrics: tuple[dict[str, Any], ...]
    model_hash: str
    healthy_hash: str


@dataclass(frozen=True)
class Artifact:
    """A model ready to use: the method in evaluation mode, its card, and healthy statistics by scoring name."""

    method: GradientMethod
    card: Card
    healthy: Mapping[str, HealthyStatistics]


def model_hash(method: GradientMethod) -> str:
    """SHA-256 over the shared parts' tensors sorted by name (name, dtype, shape, little-endian bytes)."""
    return tensor_digest(_shared_tensors(method))


def healthy_hash(healthy: Mapping[str, HealthyStatistics]) -> str:
    """SHA-256 over the healthy statistics, as `model_hash`."""
    return tensor_digest(_statistics(healthy))


def save_artifact(folder: Path, artifact: Artifact) -> None:
    """Write a model folder; each file atomically, the card last.

    Raises:
        ValueError: the card's hashes are not those of method and statistics.
    """
    if model_hash(artifact.method) != artifact.card.model_hash:
        raise ValueError("the card's model_hash is not the method's")
    if healthy_hash(artifact.healthy) != artifact.card.healthy_hash:
        raise ValueError("the card's healthy_hash is not that of the statistics")
    save_tensors(folder / "model.safetensors", _shared_tensors(artifact.method), {})
    save_tensors(folder / "healthy.safetensors", _statistics(artifact.healthy), {})
    write_atomically(folder / "card.json", (artifact.card.model_dump_json(indent=2) + "\n").encode())


def load_artifact(folder: Path) -> Artifact:
    """Read a model folder.

    Raises:
        ArtifactError: something is missing, damaged, of another architecture, or doesn't match the card's hash; says
            which file and why.
    """
    card = _load_card(folder / "card.json")
    tensors = _load(folder / "model.safetensors")
    method = _build(folder / "card.json", card)
    _require_same_architecture(folder / "model.safetensors", _shared_tensors(method), tensors)
    _require_hash(folder / "model.safetensors", tensors, card.model_hash)
    for part, module in method.shared_parts().items():
        prefix = f"{part}."
        module.load_state_dict({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
    statistics = _load(folder / "healthy.safetensors")
    if card.scoring.standardise:
        _require_statistics(folder / "healthy.safetensors", statistics, card.scoring.name)
    _require_hash(folder / "healthy.safetensors", statistics, card.healthy_hash)
    healthy = _healthy(folder / "healthy.safetensors", statistics, card.preprocessing.size)
    return Artifact(method.eval(), card, healthy)


def _statistics(healthy: Mapping[str, HealthyStatistics]) -> dict[str, Tensor]:
    moments = {f"{name}/mean": found.mean for name, found in healthy.items()}
    moments |= {f"{name}/spread": found.spread for name, found in healthy.items()}
    return {name: torch.from_numpy(array) for name, array in moments.items()}


def _shared_tensors(method: GradientMethod) -> dict[str, Tensor]:
    parts = method.shared_parts().items()
    return {f"{part}.{name}": tensor for part, module in parts for name, tensor in module.state_dict().items()}


def _load_card(path: Path) -> Card:
    try:
        return Card.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"{path}: can't be read ({type(error).__name__})", "give a model folder") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "card"
        raise ArtifactError(
            f"{path}: {key}: {first['msg']}", "the card was edited, or made by another version of federated-ra"
        ) from None


def _build(path: Path, card: Card) -> GradientMethod:
    try:
        return build_method(card.method, card.preprocessing.size, card.seed)
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}", "the card was edited") from None


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_tensors(path)[0]
    except (OSError, ValueError) as error:
        reason = type(error).__name__ if isinstance(error, OSError) else error
        raise ArtifactError(f"{path}: can't be read ({reason})", "copy the whole model folder again") from None


def _require_hash(path: Path, tensors: Mapping[str, Tensor], expected: str) -> None:
    if tensor_digest(tensors) != expected:
        raise ArtifactError(f"{path}: is not what the card describes (wrong hash)", "copy the whole model folder again")


def _require_statistics(path: Path, tensors: Mapping[str, Tensor], scoring: str) -> None:
    missing = [name for name in (f"{scoring}/mean", f"{scoring}/spread") if name not in tensors]
    if missing:
        raise ArtifactError(
            f"{path}: '{missing[0]}', of scoring '{scoring}', is missing", "copy the whole model folder again"
        )


def _healthy(path: Path, tensors: Mapping[str, Tensor], size: int) -> dict[str, HealthyStatistics]:
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float64 or tensor.shape != (size, size):
            raise ArtifactError(
                f"{path}: '{name}' is {tensor.dtype} {tuple(tensor.shape)}, not torch.float64 {(size, size)}",
                "the card describes images of another size, or another version of federated-ra made the statistics",
            )
    scorings = sorted({name.rpartition("/")[0] for name in tensors})
    for scoring in scorings:
        _require_statistics(path, tensors, scoring)
    return {s: HealthyStatistics(tensors[f"{s}/mean"].numpy(), tensors[f"{s}/spread"].numpy()) for s in scorings}


def _require_same_architecture(path: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    hint = "the card describes another architecture than the weights have; the two files belong to different models"
    missing, unknown = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or unknown:
        what = f"'{missing[0]}' is missing" if missing else f"'{unknown[0]}' is not part of the model"
        raise ArtifactError(f"{path}: {what} ({len(missing)} missing, {len(unknown)} unknown tensors)", hint)
    for name, tensor in expected.items():
        other = found[name]
        if tensor.shape != other.shape or tensor.dtype != other.dtype:
            raise ArtifactError(
                f"{path}: '{name}' is {other.dtype} {tuple(other.shape)}, not {tensor.dtype} {tuple(tensor.shape)}",
                hint,
            )
