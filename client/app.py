"""The ClientApp that runs at each site. It finds its site and answers orders; the policy alone lets answers out."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from pydantic import ValidationError

from client.door import Door
from client.listed import Sent
from client.policy import release
from client.rounds import Site
from client.site import data_root, open_site
from ra_core.config import PreprocessingConfig, RuntimeConfig, SiteConfig, StudyConfig
from ra_core.data import SiteImages
from ra_core.data.cache import forget_all_but_latest
from ra_core.errors import ConfigError, LedgerError, MaskingError, PrivacyBudgetError, ReleaseError
from ra_core.files import cache_folder
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
from ra_core.runtime import Runtime
from ra_core.settings import load_config

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
    """The site, its machine set up anew: other sites of the same process may have set other threads."""
    settings, config = place.settings, place.config
    own = {name: settings[name] for name in ("threads", "device") if name in settings}
    try:
        runtime = RuntimeConfig.model_validate(config.runtime.model_dump() | own)
    except ValidationError as error:
        raise ConfigError(
            f"the node's {', '.join(own)} are not valid ({error.error_count()} errors)",
            "threads is a number from 1, device cpu, cuda or cuda:N",
        ) from None
    root = data_root(config, Path(settings["data-root"]) if "data-root" in settings else None)
    cache = Path(settings.get("cache") or cache_folder() / "images")
    forget_all_but_latest(cache, study.preprocessing)
    manifest = root / config.data.manifest
    if config.data.folder or not manifest.exists():  # a folder may change at any time
        images = open_site(config, study.preprocessing, root, cache)
    else:
        images = _of_manifest(config, study.preprocessing, root, cache, manifest.stat().st_mtime_ns)
    if study.calibration:  # whose scores set thresholds have no say in the model
        images = images.kept_back()
    state = place.state / config.data.site
    return Site(config, images, Runtime.resolve(runtime, study.training.precision), state)


def _state(config: SiteConfig, settings: Settings) -> Path:
    """Folder for what stays at the site.

    Raises:
        ConfigError: neither the node's settings nor the config name one.
    """
    state = settings.get("state-folder") or config.state
    if not state:
        raise ConfigError(f"site '{config.data.site}' has no state folder", "set state in its config")
    return Path(state)


@lru_cache(maxsize=16)
def _of_manifest(
    config: SiteConfig,
    preprocessing: PreprocessingConfig,
    root: Path,
    cache: Path,
    manifest_time: int,  # noqa: ARG001
) -> SiteImages:
    """Kept between rounds where the process is: a manifest takes long to check. A changed manifest is read anew."""
    return open_site(config, preprocessing, root, cache)
