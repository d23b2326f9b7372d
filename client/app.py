"""The ClientApp that runs at each site. It finds its site, answers a round, and lets out what the policy releases."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from pathlib import Path

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from client.policy import release
from client.rounds import Site
from client.site import open_site
from ra_core.config import SiteConfig, StudyConfig
from ra_core.errors import ConfigError, RAError
from ra_core.messages import MessageError, RoundOrder
from ra_core.runtime import Runtime
from ra_core.settings import load_config
from ra_core.storage import cache_folder

__all__ = ["FAILED", "app"]

FAILED = 1000
"""Code of an error reply. Its reason is the kind of error alone: texts may name files or patients, and stay here."""

app = ClientApp()
_log = logging.getLogger(__name__)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Answer one round."""
    try:
        order = RoundOrder.from_record(message.content)
        site = _site(context, order.study)
        content = release(site.answer(order), order.study.federation.parts)
    except (RAError, MessageError, ValueError, OSError) as error:
        _log.exception("the round failed at this site")
        return Message(Error(code=FAILED, reason=type(error).__name__), reply_to=message)
    return Message(content, reply_to=message)


def _site(context: Context, study: StudyConfig) -> Site:
    """By `site-config` in the node's settings, else by its partition's place in the run's list of site configs.

    Raises:
        ConfigError: neither is given.
    """
    node, run = context.node_config, context.run_config
    path = node.get("site-config")
    if path is None and "partition-id" in node and "site-configs" in run:
        path = str(run["site-configs"]).split("\n")[int(str(node["partition-id"]))]
    if path is None:
        raise ConfigError(
            "this node has no site config", "start the SuperNode with --node-config 'site-config=\"FILE\"'"
        )
    root = str(node.get("data-root") or run.get("data-root") or os.environ.get("RA_DATA") or ".")
    state = str(node.get("state-folder") or run.get("state-folder") or cache_folder() / "state")
    return _open(Path(str(path)), Path(root), Path(state), study)


@lru_cache(maxsize=16)
def _open(path: Path, root: Path, state: Path, study: StudyConfig) -> Site:
    config = load_config(path, SiteConfig)
    images = open_site(config, study, root, cache_folder() / "images")
    return Site(config, images, Runtime.resolve(config.runtime), state / config.data.site)
