"""The ClientApp that runs at each site. It finds its site and answers orders; the policy alone lets answers out."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client.door import Door
from client.listed import Sent
from client.policy import release
from ra_core.config import SiteConfig, StudyConfig
from ra_core.errors import ConfigError, LedgerError, MaskingError, PrivacyBudgetError, ReleaseError
from ra_core.messages import (
    CheckOrder,
    DeliveryOrder,
    DeliveryReply,
    Failure,
    HistogramOrder,
    JoinOrder,
    JoinRefusal,
    JoinReply,
    MaskedOrder,
    Order,
    RoundOrder,
    StageOrder,
    StageReply,
)
from ra_core.settings import load_config

if TYPE_CHECKING:
    from client.rounds import Site

__all__ = ["SIMULATION", "app"]

SIMULATION = "RA_SIMULATION"
"""Environment variable with a file of node settings, a JSON list: only this machine can set it, no server can."""

app = ClientApp()
_log = logging.getLogger(__name__)

_TOLD = (ReleaseError, LedgerError, PrivacyBudgetError, MaskingError)
"""Errors whose texts name no file and no patient, so that the site's own events and ledger have them."""

Settings = Mapping[str, Any]

AnOrder = TypeVar("AnOrder", bound=Order)


@app.query()
def join(message: Message, context: Context) -> Message:
    """Say who this site is and what it has, before any round; or why its policy forbids to take part."""
    return _answered(message, context, JoinOrder, _joined)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Answer one round."""
    return _answered(message, context, RoundOrder, lambda place, order: _site(place, order.study).answer(order))


@app.train("masked")
def train_masked(message: Message, context: Context) -> Message:
    """Answer one round of secure aggregation; the policy masks what the site has computed."""
    return _answered(message, context, MaskedOrder, lambda place, order: _site(place, order.study).answer(order))


@app.query("stage")
def speak(message: Message, context: Context) -> Message:
    """Answer a short exchange of secure aggregation: announce, deal, confirm or reveal."""
    return _answered(message, context, StageOrder, _spoken)


@app.query("histogram")
def tell_histogram(message: Message, context: Context) -> Message:
    """Tell how healthy patients score with the chosen model, in counts."""
    from client.histograms.answers import histogram  # noqa: PLC0415 - each message has a process, a round no need of it

    return _answered(message, context, HistogramOrder, lambda place, order: histogram(_site(place, order.study), order))


@app.query("check")
def tell_check(message: Message, context: Context) -> Message:
    """Tell how many healthy patients are above thresholds."""
    from client.histograms.answers import check  # noqa: PLC0415 - as above

    return _answered(message, context, CheckOrder, lambda place, order: check(_site(place, order.study), order))


@app.query("deliver")
def deliver(message: Message, context: Context) -> Message:
    """Store the chosen model."""
    return _answered(message, context, DeliveryOrder, _delivered)


@dataclass(frozen=True)
class _Place:
    """Where this app runs.

    Attributes:
        settings: the node's: `site-config`, `cache` (a folder for preprocessed images; the user's cache if not given),
            and `data-root`, `state-folder`, `threads` and `device`, which go before the site config's.
        config: of the site.
        state: folder for what stays at the site.
        door: of the site.
    """

    settings: Settings
    config: SiteConfig
    state: Path
    door: Door


def _answered(
    message: Message, context: Context, kind: type[AnOrder], answer: Callable[[_Place, AnOrder], Sent]
) -> Message:
    """What a site answers. It is opened by its node's settings alone: no server chooses paths here."""
    site, order, door = "", None, None
    try:
        settings = _settings(context.node_config)
        config = load_config(Path(settings["site-config"]), SiteConfig)
        site = config.data.site
        state = _state(config, settings)
        door = Door.of(config, state)
        place = _Place(settings, config, state, door)
        order = kind.from_record(message.content)
        door.receive(order)
        return release(answer(place, order), order, door, message)
    except Exception as error:  # of any kind: Flower would send the text of those that get through
        _log.exception("this site could not do what the server asked")
        why = error.message if isinstance(error, _TOLD) else ""
        if door and why:
            door.tell(why)
        about = error.culprit if isinstance(error, MaskingError) else ""
        return release(Failure(type(error).__name__, site, about), order, door, message, why)


def _joined(place: _Place, order: JoinOrder) -> JoinReply | JoinRefusal:
    """What the policy forbids whatever the images are is refused before any is opened; `release` gives the reasons."""
    with place.door.ledger.opened() as book:
        if why := place.door.objections(order, book):
            return JoinRefusal(place.config.data.site, "; ".join(why))
    return replace(_site(place, order.study).join(order), pins=place.door.seat.pins(order.study))


def _spoken(place: _Place, order: StageOrder) -> StageReply:
    """Under the ledger's lock: of two processes that read what the site has said before either writes, both answer."""
    if order.asked == "announce" and order.steps:
        import torch  # noqa: F401, PLC0415 - to lay out a model takes it, and nobody shall wait for the lock meanwhile
    with place.door.ledger.opened():
        return place.door.seat.speak(order)


def _delivered(place: _Place, order: DeliveryOrder) -> DeliveryReply:
    from client.delivery import take_delivery  # noqa: PLC0415 - as above

    place.door.seat.forget(order.run)
    return take_delivery(order, place.config, place.state)


def _settings(node: Settings) -> Settings:
    """A hospital's node has them; a simulated one has its place in the list that `SIMULATION` names.

    Raises:
        ConfigError: neither is there.
    """
    if "site-config" not in node and "partition-id" in node and SIMULATION in os.environ:
        path = Path(os.environ[SIMULATION])
        try:
            node = dict(json.loads(path.read_text(encoding="utf-8"))[int(node["partition-id"])])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ConfigError(
                f"{path}: has no settings for node {node['partition-id']} ({type(error).__name__})",
                f"{SIMULATION} names a JSON list with one object a node",
            ) from None
    if "site-config" not in node:
        raise ConfigError(
            "this node has no site-config", """start the SuperNode with --node-config 'site-config="PATH" ...'"""
        )
    return node


def _site(place: _Place, study: StudyConfig) -> Site:
    from client.opening import opened  # noqa: PLC0415 - takes torch, 3 s that an exchange of keys needn't wait

    return opened(place.config, place.settings, place.state, study)


def _state(config: SiteConfig, settings: Settings) -> Path:
    """Folder for what stays at the site.

    Raises:
        ConfigError: neither the node's settings nor the config name one.
    """
    state = settings.get("state-folder") or config.state
    if not state:
        raise ConfigError(f"site '{config.data.site}' has no state folder", "set state in its config")
    return Path(state)
