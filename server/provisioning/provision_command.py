"""`ra-server config`, `provision`, `admit` and `revoke`: the commands."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from server.operation.commands import CONSORTIUM, Where

__all__ = ["admit", "config", "provision", "revoke"]

_Site = Annotated[str, typer.Argument(help="Name of the site, as the consortium's settings have it.")]


def config() -> None:
    """Explain every key of a consortium's settings: prints a commented file with the defaults."""
    from server.consortium import explained  # noqa: PLC0415 - it takes seconds, and `--help` doesn't need it

    typer.echo(explained(), nl=False)


def provision(
    consortium: Annotated[
        Path, typer.Argument(help="Settings of the consortium (YAML); `ra-server config` explains them.")
    ] = CONSORTIUM,
    renew: Annotated[bool, typer.Option("--renew", help="Make a new certificate for the server.")] = False,
) -> None:
    """Make keys, certificates, nginx's configuration and a kit for each site.

    Run it again after adding a site: what is there stays as it is, and what others hold never changes.
    """
    from server.consortium import load_consortium  # noqa: PLC0415 - as above
    from server.provisioning.provision import provision as make  # noqa: PLC0415 - as above

    _tell(make(load_consortium(consortium), renew, dt.datetime.now(dt.UTC)))


def admit(
    site: _Site,
    key: Annotated[Path, typer.Argument(help="The site's public key, the file that ends in .pub.")],
    consortium: Where = CONSORTIUM,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put this key in the place of the site's present one, for a lost key.")
    ] = False,
) -> None:
    """Let a site in by its public key; the server has to run.

    Compare the fingerprint that is printed with the one that the site tells on another way.
    """
    from server.consortium import load_consortium  # noqa: PLC0415 - as above
    from server.provisioning.admission import admit as let_in  # noqa: PLC0415 - as above
    from server.provisioning.admission import reached  # noqa: PLC0415 - as above

    ours = load_consortium(consortium)
    _tell(let_in(ours, reached(ours), site, key, replace, dt.datetime.now(dt.UTC)))


def revoke(site: _Site, consortium: Where = CONSORTIUM) -> None:
    """Shut a site out; its key is never let in again. The server has to run."""
    from server.consortium import load_consortium  # noqa: PLC0415 - as above
    from server.provisioning.admission import reached  # noqa: PLC0415 - as above
    from server.provisioning.admission import revoke as shut_out  # noqa: PLC0415 - as above

    ours = load_consortium(consortium)
    _tell(shut_out(ours, reached(ours), site, dt.datetime.now(dt.UTC)))


def _tell(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)
