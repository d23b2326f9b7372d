"""`ra-server publish`: the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.operation.commands import CONSORTIUM, Where

__all__ = ["publish"]


def publish(
    run: Annotated[str, typer.Argument(help="Name of the run; `ra-server runs` lists them.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    consortium: Where = CONSORTIUM,
    despite_withdrawal: Annotated[
        bool, typer.Option("--despite-withdrawal", help="Write it though a site has withdrawn from it; its card tells.")
    ] = False,
) -> None:
    """Write a run's model as one signed file, for hospitals that took no part in the run.

    The consortium's CA signs it; `ra-client import` checks that. Needs no running server. A model
    from which a site has withdrawn (`ra-server withdraw`) is refused without --despite-withdrawal.
    """
    from server.consortium import load_consortium  # noqa: PLC0415 - it takes seconds, and `--help` doesn't need it
    from server.provisioning.publish import publish as write  # noqa: PLC0415 - as above

    for line in write(load_consortium(consortium), run, out, despite_withdrawal):
        typer.echo(line)
