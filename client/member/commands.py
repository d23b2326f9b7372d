"""Commands with which a hospital takes part in a federation."""

from __future__ import annotations

from typing import Annotated

import typer

from client.options import HERE, Cache, Data, Member

__all__ = ["allow", "allowed", "models", "start", "unit"]


def start(site: Member = HERE, data: Data = None, cache: Cache = None) -> None:
    """Join the federation, and stay until stopped. The images are checked first; an error there forbids joining.

    Opens one outgoing connection, and none comes in. Says what happens; STATE/daemon.jsonl has the same as JSON lines.
    Ctrl-C or SIGTERM ends it and all that it started.
    """
    from client.member.daemon import run_daemon  # noqa: PLC0415 - it takes seconds, and `--help` doesn't need it
    from ra_core.console import TerminalReporter  # noqa: PLC0415

    run_daemon(site, data, cache, TerminalReporter().say)


def allow(
    bundle: Annotated[str, typer.Argument(help="SHA-256 of an app bundle, as the operator told you on another way.")],
    site: Member = HERE,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take it back instead.")] = False,
) -> None:
    """Let an app bundle run at this site; at once, also where the daemon runs already."""
    from client.member import allow as bundles  # noqa: PLC0415 - as above
    from client.member.station import open_station  # noqa: PLC0415

    (bundles.withdraw if withdraw else bundles.allow)(open_station(site), bundle)
    allowed(site)


def allowed(site: Member = HERE) -> None:
    """List the app bundles that may run at this site: by its config, or by `ra-client allow` (state)."""
    from client.member import allow as bundles  # noqa: PLC0415 - as above
    from client.member.station import open_station  # noqa: PLC0415

    for bundle, source in bundles.allowed(open_station(site)).items():
        typer.echo(f"{bundle} {source}")


def models(site: Member = HERE) -> None:
    """List the models that came, delivered or imported, the latest first, with the folder for `ra-client score`."""
    from client.models import models as stored  # noqa: PLC0415 - as above
    from client.models import state_folder, told  # noqa: PLC0415

    found = stored(state_folder(site))
    typer.echo("\n".join(map(told, found)) if found else "no model has come yet")


def unit(
    site: Member = HERE,
    user: Annotated[str, typer.Option(help="Account that the daemon runs as.")] = "",
    data: Data = None,
    cache: Cache = None,
) -> None:
    """Print a systemd unit that keeps `ra-client start` up, for /etc/systemd/system/ra-client.service."""
    from client.member.station import open_station  # noqa: PLC0415 - as above
    from ra_core.daemons.processes import executable  # noqa: PLC0415
    from ra_core.daemons.units import unit as text  # noqa: PLC0415

    station = open_station(site)
    given = [(name, path.absolute()) for name, path in (("--data", data), ("--cache", cache)) if path]
    options = [word for name, path in given for word in (name, str(path))]
    command = [executable("ra-client"), "start", str(station.file), *options]
    typer.echo(text(f"federated-ra: site {station.site}", command, station.file.parent, user), nl=False)
