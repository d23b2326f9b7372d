"""What `ra-server status` and `runs` tell: from files, from health endpoints, and from Flower where it can be asked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

from rich.table import Table

from ra_core.daemons.health import serving
from ra_core.errors import FlowerError, ResumeError
from ra_core.thresholds.told import told_of_metric
from server.consortium import Consortium
from server.flower import NodeState, control
from server.operation.daemon import SUPERLINK, health_addresses, running
from server.operation.runs import Run
from server.provisioning.certificates import expiring
from server.provisioning.registry import load_sites
from server.story.calibration import calibration_of
from server.story.log import Log
from server.story.standing import latest
from server.story.story import RunStory

__all__ = ["runs_of", "runs_table", "status_lines", "status_of"]

STARTING_SECONDS = 60
"""So long after the daemon's start, what does not answer is thought to be starting."""


def status_of(consortium: Consortium) -> dict[str, Any]:
    """Everything, as JSON values.

    Raises:
        ConfigError: it isn't provisioned, or a file of it is damaged.
    """
    daemon = running(consortium)
    found = {name: bool(daemon) and serving(at) for name, at in health_addresses(consortium.config).items()}
    nodes, trouble = _nodes(consortium) if found[SUPERLINK] else ([], "")
    return {
        "consortium": consortium.config.name,
        "address": consortium.config.address,
        "daemon": daemon or None,
        "serving": found,
        "trouble": trouble,
        "sites": _sites(consortium, nodes),
        "runs": runs_of(consortium),
        "certificates": expiring(consortium, dt.datetime.now(dt.UTC)),
    }


def runs_of(consortium: Consortium) -> list[dict[str, Any]]:
    """Each run: its state, how far it is, and why it isn't further."""
    return [_run(run) for run in Run.all(consortium)]


def status_lines(status: dict[str, Any]) -> Iterator[str]:
    """For people; runs are in `runs_table`, but for how they were calibrated."""
    daemon = status["daemon"]
    yield f"{status['consortium']}, {status['address']}"
    if daemon:
        yield f"daemon: runs since {daemon.get('started', 'just now')} (process {daemon['pid']})"
        silent = "starts" if _just_started(daemon) else "does not answer; the daemon restarts it"
        for name, well in status["serving"].items():
            yield f"{name}: {'serves' if well else silent}"
    else:
        yield "daemon: does not run; `ra-server start` starts it"
    if status["trouble"]:
        yield f"trouble: {status['trouble']}"
    for site in status["sites"]:
        yield f"site {site['name']}: {site['state']}{_presence(site)}"
    for run in status["runs"]:
        yield from (f"run {run['name']}: {run[what]}" for what in ("calibration", "accuracy") if run[what])
    for certificate in status["certificates"]:
        yield f"certificate: {certificate}"


def runs_table(runs: list[dict[str, Any]]) -> Table:
    """For people."""
    table = Table("run", "state", "rounds", "validation error", "sites", "why")
    for run in runs:
        why = [*run["reasons"], *(f"withdrawn from by {site}" for site in run["withdrawn"])]
        error = "" if run["validation_error"] is None else f"{run['validation_error']:.5f}"
        rounds = f"{run['rounds_done']}/{run['rounds_asked'] or '?'}"
        table.add_row(run["name"], run["state"], rounds, error, ", ".join(run["sites"]), "; ".join(why))
    return table


def _just_started(daemon: dict[str, Any]) -> bool:
    started = daemon.get("started")
    if started is None:
        return True
    return (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(started)).total_seconds() < STARTING_SECONDS


def _nodes(consortium: Consortium) -> tuple[list[NodeState], str]:
    try:
        return control(consortium).nodes(), ""
    except FlowerError as error:
        return [], error.message


def _sites(consortium: Consortium, nodes: list[NodeState]) -> list[dict[str, Any]]:
    """Sites of the settings and of the registry; `online` is None where Flower wasn't asked or doesn't know."""
    records, known = load_sites(consortium), {int(node.node): node for node in nodes}
    found = []
    for name in dict.fromkeys([*consortium.config.sites, *records]):
        record = records.get(name)
        node = known.get(record.node_id) if record and record.node_id is not None else None
        found.append(
            {
                "name": name,
                "state": record.state if record else "not provisioned",
                "online": node.status == "online" if node else None,
                "last_seen": _last_seen(node),
            }
        )
    return found


def _last_seen(node: NodeState | None) -> str | None:
    """When it came, if it is online, or went; None where it never came."""
    if node is None:
        return None
    when = node.online_at if node.status == "online" else node.offline_at
    return None if when == "N/A" else when


def _presence(site: dict[str, Any]) -> str:
    if site["online"] is None:
        return ""
    if site["online"]:
        return f", online since {site['last_seen']}"
    return f", offline since {site['last_seen']}" if site["last_seen"] else ", was never here"


def _run(run: Run) -> dict[str, Any]:
    story, result = Log(run.events, RunStory(run.name)).follow(), run.result()
    found = calibration_of(run.folder) if story.calibration else None
    return (
        {"name": run.name}
        | _agreed(run)
        | {
            "rounds_done": result.get("rounds_done", 0),
            "rounds_asked": result.get("rounds_asked"),
            "phase": str(story.phase),
            "validation_error": latest(story.validation),
            "best_round": story.best_round,
            "model_hash": story.model_hash or None,
            "calibration": story.calibration,
            "accuracy": told_of_metric(found, "auroc") if found else "",
            "undelivered": sorted(map(str, result.get("undelivered") or ())),
        }
    )


def _agreed(run: Run) -> dict[str, Any]:
    try:
        record = run.record()
    except ResumeError as error:
        return {"state": "damaged", "reasons": [error.message], "sites": [], "withdrawn": [], "submitted": None}
    going_on = "running" if record.submissions else "not begun"
    return {
        "state": record.end.state if record.end else going_on,
        "reasons": list(record.end.reasons) if record.end else [],
        "sites": list(record.sites),
        "withdrawn": list(record.withdrawn),
        "submitted": record.submissions[-1].when if record.submissions else None,
    }
