"""The model file: a folder with `model.safetensors` and `card.json`, nothing in it of a single site.

The card says what the model is and how it came about; loading checks the weights against it and refuses what does not
fit. What a site keeps beside the model to score with it is in `calibration/`. Nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator
from torch import Tensor

from ra_core.config import PreprocessingConfig
from ra_core.errors import ArtifactError
from ra_core.files import LARGE, read_bounded, write_atomically
from ra_core.hashing import tensor_digest
from ra_core.models.configs import MethodConfig
from ra_core.models.configs.features import FeatureSettings
from ra_core.models.features import features_hash
from ra_core.models.method import Method
from ra_core.models.registry import build_method
from ra_core.models.shared import load_shared, shared_tensors
from ra_core.privacy.statement import PrivacyStatement
from ra_core.settings import Config, first_problem
from ra_core.storage import load_tensors, save_tensors
from ra_core.thresholds.record import FederatedCalibration
from ra_core.words import printable

__all__ = [
    "Arm",
    "Artifact",
    "Card",
    "DataSummary",
    "assemble",
    "card_text",
    "load_artifact",
    "model_hash",
    "require_features",
    "save_artifact",
]

Arm = Literal["local", "federated", "pooled"]
"""How a model was trained: on one site's images, by a federation, or on all images in one place."""


COPY_AGAIN = "copy the whole model folder again"


class DataSummary(Config):
    """What a model learned from at one site, in counts; files are those used and those that ought to be images."""

    site: str
    train_images: int
    train_patients: int
    val_images: int
    val_patients: int
    used_files: int
    declared_files: int


class Card(Config):
    """What a model is and how it came about.

    Attributes:
        steps: on the model's path, all rounds together.
        selected: the step, or with rounds the round, whose weights these are.
        sites: trained on.
        anatomy, modality: of all these sites; empty where they differ.
        data: one a site.
        metrics: what is told of the model.
        model_hash: as `model_hash`.
        features: SHA-256 of the pretrained network that a method of `FeatureSettings` looks at images through, which
            is no part of the model (`Perceptual.digest`); empty for others. Cards of format 3 have none.
        privacy: differential privacy of patients; None where there is none, and in cards before format 5.
        withdrawn: sites that have withdrawn since from what they gave to it; none in cards before format 5.
        calibration: thresholds and accuracy over the federation's sites; None where there was none, and in cards before
            format 6.
    """

    format: Literal[3, 4, 5, 6] = 6
    method: MethodConfig
    preprocessing: PreprocessingConfig
    seed: int
    arm: Arm
    steps: int
    rounds: int
    selected: int
    sites: tuple[str, ...]
    anatomy: str
    modality: str
    data: tuple[DataSummary, ...]
    runtime: dict[str, str | int]
    software: dict[str, str]
    metrics: tuple[dict[str, Any], ...]
    model_hash: str
    features: str = Field("", pattern="^([0-9a-f]{64})?$")
    privacy: PrivacyStatement | None = None
    withdrawn: tuple[str, ...] = ()
    calibration: FederatedCalibration | None = None

    @model_validator(mode="after")
    def _texts_do_nothing_to_a_terminal(self) -> Card:
        """A server writes them, and people at a hospital read them."""
        for text in _texts(self.model_dump(mode="json")):
            if not text.isprintable():
                raise ValueError(f"a text can't be printed: {printable(text)[:40]!r}")
        return self

    @model_validator(mode="after")
    def _features_are_told_where_there_are_any(self) -> Card:
        if isinstance(self.method, FeatureSettings) != bool(self.features):
            raise ValueError(f"features {self.features[:12]!r} can't be those of {self.method.name}")
        return self


@dataclass(frozen=True)
class Artifact:
    """A model ready to use: the method in evaluation mode, and its card."""

    method: Method
    card: Card


def _texts(found: Any) -> Iterator[str]:
    """All texts within what JSON gives, names of fields among them."""
    if isinstance(found, str):
        yield found
    elif isinstance(found, dict):
        yield from found
        yield from _texts(list(found.values()))
    elif isinstance(found, list):
        for one in found:
            yield from _texts(one)


def model_hash(method: Method) -> str:
    """SHA-256 over all shared tensors sorted by name (name, dtype, shape, little-endian bytes)."""
    return tensor_digest(shared_tensors(method))


def save_artifact(folder: Path, artifact: Artifact) -> None:
    """Write a model folder; each file atomically, the card last.

    Raises:
        ArtifactError: the method has no parts that may leave a site; or it looks at images through another pretrained
            network than the card says.
        ValueError: the card's hash is not the method's.
        WeightsError: it looks at images through a pretrained network that this machine doesn't have.
    """
    _require_parts(folder, artifact.method, artifact.card)
    if model_hash(artifact.method) != artifact.card.model_hash:
        raise ValueError("the card's model_hash is not the method's")
    require_features(folder, artifact.card, features_hash(artifact.card.method))
    save_tensors(folder / "model.safetensors", shared_tensors(artifact.method), {})
    write_atomically(folder / "card.json", card_text(artifact.card))


def load_artifact(folder: Path) -> Artifact:
    """Read a model folder.

    Raises:
        ArtifactError: something is missing, damaged, of another architecture, not finite, or doesn't match the card's
            hash; says which file and why.
    """
    card_path, weights_path = folder / "card.json", folder / "model.safetensors"
    try:
        text = read_bounded(card_path, LARGE)
    except OSError as error:
        raise ArtifactError(f"{card_path}: can't be read ({type(error).__name__})", "give a model folder") from None
    try:
        tensors, _ = load_tensors(weights_path)
    except (OSError, ValueError) as error:
        reason = type(error).__name__ if isinstance(error, OSError) else error
        raise ArtifactError(f"{weights_path}: can't be read ({reason})", COPY_AGAIN) from None
    return assemble(text, tensors, card_path, weights_path)


def assemble(text: bytes, tensors: Mapping[str, Tensor], card_path: Path, weights_path: Path) -> Artifact:
    """The model that a card and weights make.

    Args:
        text: the card, as `card_text` gives it.
        tensors: the weights.
        card_path: file that the card comes from, for errors.
        weights_path: likewise.

    Raises:
        ArtifactError: the card is no good or of a method without model files, or the weights are of another
            architecture, not finite, or don't match the card's hash.
    """
    try:
        card = Card.model_validate_json(text)
    except ValidationError as error:
        hint = "the card was edited, or made by another version of federated-ra"
        raise ArtifactError(f"{card_path}: {first_problem(error, 'card')}", hint) from None
    method = _build(card_path, card)
    _require_parts(card_path, method, card)
    _fill(weights_path, method, card, tensors)
    return Artifact(method.eval(), card)


def require_features(model: Path, card: Card, found: str) -> None:
    """Refuse a model whose features come from another pretrained network than those that it was made with.

    Args:
        model: for the error.
        card: of the model.
        found: SHA-256 of the network that is there; empty where there is none.

    Raises:
        ArtifactError: the two differ.
    """
    if found != card.features:
        raise ArtifactError(
            f"{model}: {card.method.name} needs the features of pretrained network {card.features[:12]}, and these are "
            f"of {found[:12]}",
            "give the weights that the model was made with, torchvision's for ImageNet as a rule",
        )


def card_text(card: Card) -> bytes:
    """A card as it is written."""
    return (card.model_dump_json(indent=2) + "\n").encode()


def _require_parts(path: Path, method: Method, card: Card) -> None:
    """Refuse a method that is nothing but the images of a site."""
    if not method.shared_parts():
        raise ArtifactError(
            f"{path}: there are no model files of {card.method.name}: {card.method.local_only}",
            "use it where it was made, or choose another method",
        )


def _build(path: Path, card: Card) -> Method:
    try:
        return build_method(card.method, card.preprocessing.size, card.seed)
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}", "the card was edited") from None


def _fill(path: Path, method: Method, card: Card, tensors: Mapping[str, Tensor]) -> None:
    """Load the weights, checked against architecture and hash."""
    try:
        load_shared(method, None, tensors)
    except ValueError as error:
        raise ArtifactError(
            f"{path}: {error}", "the two files belong to different models, or one was changed; copy both again"
        ) from None
    if tensor_digest(tensors) != card.model_hash:
        raise ArtifactError(f"{path}: is not what the card describes (wrong hash)", COPY_AGAIN)
