"""`ra-server dashboard`: the command."""

from __future__ import annotations

from typing import Annotated

import typer

from server.operation.commands import CONSORTIUM, Where

__all__ = ["dashboard"]


def dashboard(
    consortium: Where = CONSORTIUM,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Loopback port; without it, the one of the settings. 0: any.")
    ] = None,
) -> None:
    """Show in a browser of this machine whether all is well: sites, runs, rounds, losses, reasons.

    The page is read-only, updates itself, and is served on loopback alone: from another machine, reach it through SSH.
    Ends with Ctrl-C.
    """
    from server.consortium import load_consortium  # noqa: PLC0415 - it takes seconds, and `--help` doesn't need it
    from server.dashboard.serve import serve  # noqa: PLC0415 - as above

    serve(load_consortium(consortium), port, typer.echo)
