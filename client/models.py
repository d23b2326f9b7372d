"""Models that the federation has delivered to this site, one folder each, named after the model's hash."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from client.leak.outcome import Outcome, load_outcome
from client.member.station import EVENTS
from ra_core.artifact import Artifact, Card, load_artifact, save_artifact
from ra_core.config import SiteConfig
from ra_core.daemons.events import Events
from ra_core.errors import ArtifactError, ConfigError
from ra_core.files import write_atomically
from ra_core.settings import Config, load_config
from ra_core.thresholds.told import told_of_all

__all__ = ["Receipt", "Stored", "models", "state_folder", "store_model", "told"]

FOLDER = "models"
RECEIVED = "received.json"


class Receipt(Config):
    """How a model came here."""

    origin: str
    received: str


@dataclass(frozen=True)
class Stored:
    """A model at this site.

    Attributes:
        folder: for `ra-client score --model`.
        card: what the model is; None where it can't be used.
        receipt: how it came; None where that isn't known.
        calibrated: whether the folder holds this site's calibration of it; without one there are no decisions.
        leak: what attacks by this site have found it to tell of patients; None where it was not attacked.
        fault: why it can't be used; empty where it can.
    """

    folder: Path
    card: Card | None
    receipt: Receipt | None
    calibrated: bool
    leak: Outcome | None
    fault: str


def state_folder(site: Path) -> Path:
    """Where a site keeps its models; it need not be a member of a federation.

    Raises:
        ConfigError: the site config is no good, or names no state folder.
    """
    state = load_config(site, SiteConfig).state
    if state is None:
        raise ConfigError(f"{site}: state is not set", "set it to a folder: models and the ledger lie there")
    return state.absolute()


def store_model(state: Path, artifact: Artifact, origin: str) -> Path:
    """Store a model that was delivered; the same one again changes nothing but its receipt.

    Args:
        state: the site's folder.
        artifact: the model.
        origin: where it comes from, in words: "run NAME", "the file NAME".

    Returns:
        Its folder.

    Raises:
        ValueError: the card's hash is not the model's.
        OSError: the disk is full or the folder can't be written.
    """
    folder = state / FOLDER / artifact.card.model_hash[:16]
    save_artifact(folder, artifact)
    receipt = Receipt(origin=origin, received=_now())
    write_atomically(folder / RECEIVED, receipt.model_dump_json().encode())
    Events(state / EVENTS).tell("model_received", model_hash=artifact.card.model_hash, origin=origin)
    return folder


def models(state: Path) -> list[Stored]:
    """All models of this site, the latest first; those that can't be used, or say not when they came, last."""
    found = [_stored(folder) for folder in sorted((state / FOLDER).glob("*")) if folder.is_dir()]
    return sorted(found, key=lambda one: one.receipt.received if one.receipt and one.card else "", reverse=True)


def told(stored: Stored) -> str:
    """A model in lines for people: what it is, where it came from, where it lies, and what it lacks here."""
    if stored.card is None:
        return f"{stored.folder.name}  can't be used: {stored.fault}\n  {stored.folder}"
    card = stored.card
    came = f"received {stored.receipt.received} from {stored.receipt.origin}" if stored.receipt else "came otherwise"
    rounds = f"best of {card.rounds} rounds: {card.selected}"
    lack = "not calibrated at this site, so scores but no decisions: `ra-client calibrate` sets thresholds"
    scores = "calibrated at this site" if stored.calibrated else lack
    leak = stored.leak.verdict if stored.leak else "not attacked at this site: `ra-client leak` tries what it tells"
    gone = f"; since withdrawn from by {', '.join(card.withdrawn)}" if card.withdrawn else ""
    facts = f"{came}; sites: {', '.join(card.sites)}{gone}; {rounds}; {scores}; {leak}"
    of_all = told_of_all(card.calibration) if card.calibration else ()
    return "\n  ".join([f"{card.model_hash[:16]}  {facts}", *of_all, str(stored.folder)])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _stored(folder: Path) -> Stored:
    card, fault = None, ""
    try:
        card = load_artifact(folder).card
    except ArtifactError as error:
        fault = error.message.removeprefix(f"{folder}/")
    leak = load_outcome(folder, card.model_hash) if card else None
    return Stored(folder, card, _receipt(folder / RECEIVED), (folder / "calibration.json").exists(), leak, fault)


def _receipt(path: Path) -> Receipt | None:
    try:
        return Receipt.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
