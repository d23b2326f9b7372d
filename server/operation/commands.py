"""The commands that run a consortium: `start`, `run`, `status`, `runs`, `stop`, `resume`, `unit`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["resume", "run", "runs", "start", "status", "stop", "unit"]

# What the bodies import takes seconds, and `--help` doesn't need it.
# ruff: noqa: PLC0415

CONSORTIUM = Path("consortium.yaml")

Where = Annotated[Path, typer.Option("--consortium", help="Settings of the consortium (YAML).")]
File = Annotated[Path, typer.Argument(help="Settings of the consortium (YAML).")]
Name = Annotated[str, typer.Argument(help="Name of the run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def start(consortium: File = CONSORTIUM) -> None:
    """Run the server until Ctrl-C or SIGTERM: sites can join, and runs go on. `ra-server unit` makes it a service."""
    from ra_core.console import TerminalReporter, graceful_stop
    from server.consortium import load_consortium
    from server.operation.daemon import start as start_daemon

    with graceful_stop() as stop:
        start_daemon(load_consortium(consortium), stop, TerminalReporter().say)


def run(
    study: Annotated[Path, typer.Argument(help="Study config (YAML).")],
    consortium: Where = CONSORTIUM,
    name: Annotated[str, typer.Option(help="Name of the run; without it, the study file's.")] = "",
    sites: Annotated[str, typer.Option(help="Sites that have to be there, joined by commas; without it, all.")] = "",
) -> None:
    """Train a study at the sites, and follow it. The same command goes on with a run that was broken off.

    Ctrl-C ends the following alone, not the run. Ends with 0 only where all agreed sites were in all of it.
    """
    from server.consortium import load_consortium
    from server.operation.operate import start_run

    start_run(load_consortium(consortium), study, name, [site.strip() for site in sites.split(",") if site.strip()])


def resume(run: Name, consortium: Where = CONSORTIUM) -> None:
    """Go on with a run that was stopped or has failed, from its last checkpoint, and follow it."""
    from server.consortium import load_consortium
    from server.operation.operate import resume_run

    resume_run(load_consortium(consortium), run)


def stop(
    run: Name,
    consortium: Where = CONSORTIUM,
    despite_masks: Annotated[
        bool, typer.Option("--despite-masks", help="Stop it within a masked round too; it can't be resumed then.")
    ] = False,
) -> None:
    """End a run; its last checkpoint stays, and `resume` goes on from there.

    With secure aggregation a round can't be made again once figures were asked for: then it is refused without
    --despite-masks.
    """
    from server.consortium import load_consortium
    from server.operation.operate import stop_run

    stop_run(load_consortium(consortium), run, despite_masks)
    typer.echo(f"stopped; `ra-server resume '{run}'` goes on from the last whole round, if none was under masks")


def status(consortium: Where = CONSORTIUM, as_json: AsJson = False) -> None:
    """Tell whether the server is well, which sites are there, how runs stand, and which certificates end soon."""
    from rich.console import Console

    from server.consortium import load_consortium
    from server.operation.status import runs_table, status_lines, status_of

    found = status_of(load_consortium(consortium))
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    for line in status_lines(found):
        typer.echo(line)
    if found["runs"]:
        Console(markup=False).print(runs_table(found["runs"]))


def runs(consortium: Where = CONSORTIUM, as_json: AsJson = False) -> None:
    """List all runs: state, round, error, sites, and what was missing."""
    from rich.console import Console

    from server.consortium import load_consortium
    from server.operation.status import runs_of, runs_table

    found = runs_of(load_consortium(consortium))
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        Console(markup=False).print(runs_table(found))


def unit(
    consortium: File = CONSORTIUM,
    user: Annotated[str, typer.Option(help="Account that the service runs as; it owns the folder.")] = "",
) -> None:
    """Print a systemd unit that keeps the server up; docs/running_a_consortium.md says where it goes."""
    from ra_core.daemons.processes import executable
    from ra_core.daemons.units import unit as unit_text
    from server.consortium import load_consortium

    loaded = load_consortium(consortium)
    command = [executable("ra-server"), "start", str(loaded.file)]
    typer.echo(unit_text(f"Server of {loaded.config.name}", command, loaded.file.parent, user), nl=False)
