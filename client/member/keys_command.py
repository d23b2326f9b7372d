"""`ra-client keygen`: the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.options import HERE

__all__ = ["keygen"]


def keygen(
    site: Annotated[Path, typer.Argument(help="Site config (YAML); its server.private_key says where.")] = HERE,
    out: Annotated[Path | None, typer.Option(help="Private key to write; goes before the site config.")] = None,
) -> None:
    """Make this site's key: the private half stays here, the public one goes to the consortium.

    Prints which file to send, and its fingerprint. Writes over nothing.
    """
    from client.member.keys import make_key, site_key_path  # noqa: PLC0415 - it takes seconds, and `--help` doesn't need it

    for line in make_key(out or site_key_path(site)):
        typer.echo(line)
