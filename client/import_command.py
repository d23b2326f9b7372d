"""`ra-client import`: the command."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from client.options import HERE

__all__ = ["import_model"]


def import_model(
    file: Annotated[Path, typer.Argument(help="File that a consortium has published.")],
    site: Annotated[Path, typer.Argument(help="Site config (YAML); the model goes to its state folder.")] = HERE,
    ca: Annotated[
        Path | None,
        typer.Option(help="The consortium's CA certificate; without it, server.ca_certificate of the site config."),
    ] = None,
) -> None:
    """Take in a model that a consortium has published, once its signature and its hash have been checked."""
    from client.imported import take_in  # noqa: PLC0415 - it takes seconds, and `--help` doesn't need it

    for line in take_in(file, site, ca, dt.datetime.now(dt.UTC)):
        typer.echo(line)
