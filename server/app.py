"""The ServerApp: reads what the operator gave, goes on from the last checkpoint, and tells why if it can't."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from ra_core.config import SITE_NAME, StudyConfig
from ra_core.errors import ConfigError
from ra_core.models.method import GradientMethod
from ra_core.models.registry import build_method
from ra_core.models.shared import shared_tensors
from ra_core.settings import load_config
from ra_core.storage import sweep, write_atomically
from server.checkpoint import load_progress, save_progress
from server.progress import Progress
from server.strategy import FederatedAveraging

__all__ = ["CHECKPOINT", "FAILURE", "app"]

CHECKPOINT = "checkpoint.safetensors"
FAILURE = "failure.json"
"""Files in the run's folder: the state after the last exchange; why the run ended early, if it did."""

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run a study to its end.

    The run's settings are `study-file`, the study's settings on this machine; `folder`, where the checkpoint is and
    goes; `sites`, the agreed names of the sites, joined by commas; and `deadline`, seconds in place of the study's
    where simulated sites answer one after another.

    Raises:
        ConfigError: a setting is missing or bad.
        QuorumError: too few sites answered usably in an exchange.
        ResumeError: the folder's checkpoint is damaged or of other settings.
    """
    folder = Path(_setting(context.run_config, "folder"))
    with _told(folder / FAILURE):
        sweep(folder)
        sites = _sites(_setting(context.run_config, "sites"))
        study = load_config(Path(_setting(context.run_config, "study-file")), StudyConfig)
        method = build_method(study.method, study.preprocessing.size, study.seed)
        checkpoint, digest = folder / CHECKPOINT, study.digest()
        progress = load_progress(checkpoint, digest) if checkpoint.exists() else _start(method, study)

        def save(progress: Progress) -> None:
            save_progress(checkpoint, progress, digest)

        deadline = float(context.run_config.get("deadline") or study.federation.deadline_seconds)
        FederatedAveraging(grid, study, sites, method.ready_for_selection, save, deadline).run(progress)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Whatever ends the run early is also written to a file: whoever started it sees no more than a status."""
    path.unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        failure = {"kind": type(error).__name__, "message": str(error), "hint": getattr(error, "hint", "")}
        write_atomically(path, json.dumps(failure).encode())
        raise


def _setting(run_config: Mapping[str, Any], name: str) -> str:
    value = str(run_config.get(name, ""))
    if not value:
        raise ConfigError(f"the run's setting '{name}' is empty", f"""add --run-config '{name}="..."'""")
    return value


def _sites(text: str) -> list[str]:
    names = text.split(",")
    bad = [name for name in names if not SITE_NAME.fullmatch(name) or names.count(name) > 1]
    if bad:
        raise ConfigError(
            f"the run's setting 'sites': '{bad[0]}' stands there twice or can't be a site's name",
            "join different names by commas, without spaces around them; " + SITE_NAME.pattern + " is allowed",
        )
    return names


def _start(method: GradientMethod, study: StudyConfig) -> Progress:
    try:
        shared = shared_tensors(method, study.federation)
    except ValueError as error:
        raise ConfigError(f"federation.parts: {error}", "name the parts of the method that are shared") from None
    return Progress({name: tensor.numpy().copy() for name, tensor in shared.items()})
