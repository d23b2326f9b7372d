"""What one site keeps beside a model to score with it: `calibration.json`, and `healthy.safetensors` where needed.

The chosen scoring, its thresholds and the statistics of its healthy maps come from this site's healthy images and hold
for no other site. Loading checks that they belong to the model at hand. Nothing is unpickled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor

from ra_core.artifact import Card
from ra_core.errors import ArtifactError
from ra_core.files import LARGE, read_bounded, write_atomically
from ra_core.hashing import tensor_digest
from ra_core.scoring import HealthyStatistics, ScoringConfig
from ra_core.settings import Config, first_problem
from ra_core.storage import load_tensors, save_tensors

__all__ = ["Calibration", "load_calibration", "save_calibration"]

AGAIN = "calibrate the model again at this site"

PARTS = {"mean": torch.float64, "spread": torch.float64, "inside": torch.bool}
"""Tensors of `healthy.safetensors`, each (S, S)."""


@dataclass(frozen=True)
class Calibration:
    """How one site scores with one model.

    Attributes:
        scoring: chosen on the site's healthy validation images.
        pixel_threshold: map value above which a pixel is flagged, at least 0.
        image_threshold: score above which an image is, at least 0.
        perceptual_net: backbone of the perceptual network.
        perceptual_hash: its `Perceptual.digest`; empty where there was none.
        model_hash: of the model it belongs to.
        healthy: what the site's healthy images and maps show at each pixel; of a standardised scoring, else None.
    """

    scoring: ScoringConfig
    pixel_threshold: float
    image_threshold: float
    perceptual_net: str
    perceptual_hash: str
    model_hash: str
    healthy: HealthyStatistics | None


class _Facts(Config):
    """What stands in `calibration.json`."""

    format: Literal[3] = 3
    scoring: ScoringConfig
    pixel_threshold: float = Field(ge=0)
    image_threshold: float = Field(ge=0)
    perceptual_net: str
    perceptual_hash: str
    model_hash: str
    healthy_hash: str | None

    @model_validator(mode="after")
    def _statistics_where_standardised(self) -> _Facts:
        if self.scoring.standardise != (self.healthy_hash is not None):
            raise ValueError("healthy_hash belongs to a standardised scoring, and to no other")
        return self


def save_calibration(folder: Path, calibration: Calibration) -> None:
    """Write a calibration; each file atomically, `calibration.json` last.

    Raises:
        ValueError: a threshold is negative or not finite, or statistics lack or are too many for the scoring.
    """
    tensors = {} if calibration.healthy is None else _tensors(calibration.healthy)
    named = {name: value for name, value in vars(calibration).items() if name != "healthy"}
    facts = _Facts(**named, healthy_hash=tensor_digest(tensors) if tensors else None)
    statistics = folder / "healthy.safetensors"
    if tensors:
        save_tensors(statistics, tensors, {})
    else:
        statistics.unlink(missing_ok=True)  # of an earlier calibration
    write_atomically(folder / "calibration.json", (facts.model_dump_json(indent=2) + "\n").encode())


def load_calibration(folder: Path, card: Card) -> Calibration:
    """Read a calibration of the model that the card describes.

    Raises:
        ArtifactError: something is missing, damaged, not finite, of another size, or belongs to another model; says
            which file and why.
    """
    path = folder / "calibration.json"
    facts = _load_facts(path)
    if facts.model_hash != card.model_hash:
        raise ArtifactError(f"{path}: belongs to another model (model_hash)", AGAIN)
    healthy = None
    if facts.healthy_hash is not None:
        healthy = _load_healthy(folder / "healthy.safetensors", facts.healthy_hash, card.preprocessing.size)
    named = {name: value for name, value in facts if name not in ("format", "healthy_hash")}
    return Calibration(**named, healthy=healthy)


def _tensors(healthy: HealthyStatistics) -> dict[str, Tensor]:
    return {name: torch.from_numpy(getattr(healthy, name)) for name in PARTS}


def _load_facts(path: Path) -> _Facts:
    try:
        return _Facts.model_validate_json(read_bounded(path, LARGE))
    except OSError as error:
        raise ArtifactError(f"{path}: can't be read ({type(error).__name__})", "give a calibration folder") from None
    except ValidationError as error:
        reason = first_problem(error, "calibration")
        raise ArtifactError(f"{path}: {reason}", f"edited, damaged or of another version; {AGAIN}") from None


def _load_healthy(path: Path, expected_hash: str, size: int) -> HealthyStatistics:
    try:
        tensors, _ = load_tensors(path)
    except (OSError, ValueError) as error:
        reason = type(error).__name__ if isinstance(error, OSError) else error
        raise ArtifactError(f"{path}: can't be read ({reason})", AGAIN) from None
    reason = _unfit(tensors, size)
    if reason:
        raise ArtifactError(f"{path}: {reason}", AGAIN)
    if tensor_digest(tensors) != expected_hash:
        raise ArtifactError(f"{path}: is not what calibration.json describes (wrong hash)", AGAIN)
    return HealthyStatistics(**{name: tensors[name].numpy() for name in PARTS})


def _unfit(tensors: dict[str, Tensor], size: int) -> str:
    """Why these can't be healthy statistics of images of this size, or ""."""
    for name, dtype in PARTS.items():
        if name not in tensors:
            return f"'{name}' is missing"
        tensor = tensors[name]
        if tensor.dtype != dtype or tensor.shape != (size, size):
            return f"'{name}' is {tensor.dtype} {tuple(tensor.shape)}, not {dtype} {(size, size)}"
        if not tensor.isfinite().all():
            return f"'{name}' is not finite"
    if tensors["spread"].min() < 0:
        return "'spread' is negative"
    if not tensors["inside"].any():
        return "'inside' is empty"
    unknown = sorted(tensors.keys() - PARTS.keys())
    return f"'{unknown[0]:.80}' doesn't belong there" if unknown else ""
