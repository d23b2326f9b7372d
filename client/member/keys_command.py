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

    Prints which file to send, and its fingerprint. Where the site config names secure_aggregation.signing_key, that key
    is made too, or alone where the other is there, and its fingerprint goes to the other sites. Writes over nothing.
    """
    from client.member.keys import make_key, make_keys  # noqa: PLC0415 - it takes seconds, and `--help` doesn't need it

    for line in make_key(out) if out else make_keys(site):
        typer.echo(line)
