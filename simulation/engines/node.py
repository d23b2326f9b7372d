"""What both engines start from: one node a site, and the files and settings of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.ledger.book import Ledger
from client.ledger.line import EMPTY
from client.terms import rests_on_ledger
from ra_core.config import RuntimeConfig, SiteConfig, StudyConfig
from ra_core.errors import ConfigError, ResumeError
from ra_core.files import write_atomically
from ra_core.settings import load_config
from server.rounds.checkpoint import Checkpoints
from server.rounds.progress import Progress

__all__ = ["NODES", "Node", "OnProgress", "Settings", "answered", "finished", "prepare"]

NODES = "nodes.json"
"""File in the run's folder: the settings of each node, as a hospital gives them to its SuperNode."""

PATIENCE_SECONDS = 30 * 24 * 3600
"""Simulated sites answer one after another: how fast the machine is must not decide whose answers count."""

OnProgress = Callable[[int, int], None]
"""Told how many answers of how many there are."""

Settings = dict[str, str | int]


@dataclass(frozen=True)
class Node:
    """A simulated hospital.

    Attributes:
        site: name in the study, the one that its site config has.
        site_config: YAML of a `SiteConfig`.
        data_root: folder that the site config's paths are relative to.
        state: folder for what the site keeps between rounds.
        cache: folder for preprocessed images; the user's cache if not given.
    """

    site: str
    site_config: Path
    data_root: Path
    state: Path
    cache: Path | None = None

    def settings(self, runtime: RuntimeConfig) -> Settings:
        """As its SuperNode would get them; device and threads go before the site config's."""
        paths = {
            "site-config": self.site_config,
            "data-root": self.data_root,
            "state-folder": self.state,
            "cache": self.cache,
        }
        found: Settings = {name: str(path.resolve()) for name, path in paths.items() if path}
        return found | {"threads": runtime.threads, "device": runtime.device}


def answered(study: StudyConfig, nodes: Sequence[Node], folder: Path) -> int:
    """How many answers the folder's checkpoint stands for; 0 where there is none.

    Raises:
        ResumeError: the checkpoint is damaged, or of other settings.
    """
    progress = Checkpoints(folder, study.digest()).load()
    return len(progress.records) * len(nodes) if progress else 0


def finished(study: StudyConfig, folder: Path) -> Progress:
    """The state that a run has come to its end with.

    Raises:
        ResumeError: there is none that can be read.
    """
    progress = Checkpoints(folder, study.digest()).load()
    if progress is None:
        raise ResumeError(f"{folder}: the run has left no checkpoint", "start it again")
    return progress


def prepare(
    study: StudyConfig, nodes: Sequence[Node], runtime: RuntimeConfig, folder: Path
) -> tuple[list[Settings], dict[str, str]]:
    """Write `study.json` and `nodes.json` to the run's folder, and begin the ledgers of its sites.

    Returns:
        The nodes' settings, and the run's settings as `server/app.py` reads them.

    Raises:
        LedgerError: a site's ledger can't be written.
        OSError: the folder can't be written.
    """
    settings = [node.settings(runtime) for node in nodes]
    for node in nodes:
        _begin_ledger(node)
    study_file = folder / "study.json"
    write_atomically(study_file, study.model_dump_json(indent=1).encode())
    write_atomically(folder / NODES, json.dumps(settings, indent=1).encode())
    run = {
        "study-file": str(study_file),
        "folder": str(folder),
        "sites": ",".join(node.site for node in nodes),
        "deadline": str(PATIENCE_SECONDS),
    }
    return settings, run


def _begin_ledger(node: Node) -> None:
    """As `ra-client ledger begin`, where the config asks for it: what a simulated site answers leaves for nowhere."""
    try:
        config = load_config(node.site_config, SiteConfig)
    except ConfigError:
        return  # as in a real federation the site itself answers with that
    if not rests_on_ledger(config):
        return
    with Ledger.of(node.state, node.site).opened() as book:
        if not book.begun:
            book.begin(EMPTY, config.policy.digest())
