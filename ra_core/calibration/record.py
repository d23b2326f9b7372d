"""What one site keeps beside a model to score with it: `calibration.json`, and `healthy.safetensors` where needed.

The scoring, its thresholds and the statistics of its healthy maps come from this site's healthy images and hold for no
other site. Loading checks that they belong to the model at hand. Nothing is unpickled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator
from torch import Tensor

from ra_core.artifact import Card
from ra_core.calibration.image_threshold import ImageThreshold
from ra_core.calibration.watching import Tallies
from ra_core.config import SITE_NAME
from ra_core.data.scan.records import THUMBNAIL
from ra_core.errors import ArtifactError
from ra_core.files import LARGE, read_bounded, write_atomically
from ra_core.hashing import tensor_digest
from ra_core.scoring import HealthyStatistics, ScoringConfig
from ra_core.settings import Config, first_problem
from ra_core.storage import load_tensors, save_tensors
from ra_core.thresholds import Promise

__all__ = ["Calibration", "load_calibration", "save_calibration"]

AGAIN = "calibrate the model again at this site, with `ra-client calibrate`"

PARTS = {"mean": torch.float64, "spread": torch.float64, "inside": torch.bool}
"""Tensors of `healthy.safetensors`, each (S, S)."""


@dataclass(frozen=True)
class Calibration:
    """How one site scores with one model.

    Attributes:
        site: whose healthy images it rests on.
        scoring: of all numbers here.
        pixel: map value above which a pixel is flagged; it always has one.
        slice: score above which a picture by itself is.
        study: score above which a volume is; of its pictures the highest counts.
        pictures: of a patient behind the thresholds, the fewest and the most.
        usual: histograms of what the site's healthy patients look like, to hold later ones against.
        mean_picture: of them, uint8 (32, 32), see `traits.mean_picture`.
        perceptual_net: backbone of the perceptual network.
        perceptual_hash: its `Perceptual.digest`; empty where there was none.
        model_hash: of the model it belongs to.
        healthy: what the site's healthy images and maps show at each pixel; of a standardised scoring, else None.
    """

    site: str
    scoring: ScoringConfig
    pixel: Promise
    slice: ImageThreshold
    study: ImageThreshold
    pictures: tuple[int, int]
    usual: Tallies
    mean_picture: NDArray[np.uint8]
    perceptual_net: str
    perceptual_hash: str
    model_hash: str
    healthy: HealthyStatistics | None

    @property
    def flagged_above(self) -> float:
        """Map value above which a pixel is flagged."""
        if self.pixel.value is None:
            raise ValueError("a calibration without a pixel threshold")
        return self.pixel.value

    def threshold(self, volume: bool) -> ImageThreshold:
        """What decides: of a picture by itself that of slices, of a volume that of studies."""
        return self.study if volume else self.slice

    @property
    def decides(self) -> bool:
        """Whether there is a threshold at all, of pictures or of volumes."""
        return any(threshold.value is not None for threshold in (self.slice, self.study))

    def told(self, volume: bool, pictures: int = 0) -> str:
        """What a reader of a decision on a volume, or on a picture by itself, has to know, in one sentence.

        Args:
            volume: which of the two.
            pictures: of the volume that were scored; with more than any patient of the calibration had, the highest
                of their scores is high oftener.
        """
        sentence, most = self.threshold(volume).told(self.site), self.pictures[1]
        if not volume or pictures <= most or self.study.value is None:
            return sentence
        return f"{sentence}; careful: {pictures} pictures, and no patient behind the threshold had more than {most}"


class _Facts(Config):
    """What stands in `calibration.json`."""

    format: Literal[4] = 4
    site: str = Field(pattern=f"^{SITE_NAME.pattern}$")
    scoring: ScoringConfig
    pixel: Promise
    slice: ImageThreshold
    study: ImageThreshold
    pictures: tuple[int, int]
    perceptual_net: str
    perceptual_hash: str
    model_hash: str
    healthy_hash: str | None
    mean_picture: str = Field(pattern=f"^[0-9a-f]{{{2 * THUMBNAIL**2}}}$")
    usual: Tallies

    @model_validator(mode="after")
    def _statistics_where_standardised(self) -> _Facts:
        if self.scoring.standardise != (self.healthy_hash is not None):
            raise ValueError("healthy_hash belongs to a standardised scoring, and to no other")
        return self

    @model_validator(mode="after")
    def _thresholds_are_of_their_units(self) -> _Facts:
        for unit in ("pixel", "slice", "study"):
            threshold: Promise = getattr(self, unit)
            if threshold.unit != unit:
                raise ValueError(f"the {unit} threshold is one of {threshold.unit}")
            if threshold.value is not None and threshold.value < 0:
                raise ValueError(f"the {unit} threshold is negative")
        if self.pixel.value is None:
            raise ValueError("there is no pixel threshold")
        if not 1 <= self.pictures[0] <= self.pictures[1]:
            raise ValueError("pictures of a patient are out of order")
        return self


def save_calibration(folder: Path, calibration: Calibration) -> None:
    """Write a calibration, for its owner alone; each file atomically, `calibration.json` last.

    Raises:
        ValueError: a threshold is negative or not finite, or statistics lack or are too many for the scoring.
        OSError: the disk is full or the folder can't be written.
    """
    tensors = {} if calibration.healthy is None else _tensors(calibration.healthy)
    named = {name: value for name, value in vars(calibration).items() if name != "healthy"}
    named["mean_picture"] = calibration.mean_picture.tobytes().hex()
    facts = _Facts(**named, healthy_hash=tensor_digest(tensors) if tensors else None)
    statistics = folder / "healthy.safetensors"
    if tensors:
        save_tensors(statistics, tensors, {}, mode=0o600)
    else:
        statistics.unlink(missing_ok=True)  # of an earlier calibration
    write_atomically(folder / "calibration.json", (facts.model_dump_json(indent=2) + "\n").encode(), mode=0o600)


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
    mean = np.frombuffer(bytes.fromhex(facts.mean_picture), np.uint8).reshape(THUMBNAIL, THUMBNAIL)
    return Calibration(**{**named, "mean_picture": mean}, healthy=healthy)


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
