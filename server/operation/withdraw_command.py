"""`ra-server withdraw`: the command."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from server.operation.commands import CONSORTIUM, Where

__all__ = ["withdraw"]


def withdraw(
    site: Annotated[str, typer.Argument(help="Name of the site, as the consortium's settings have it.")],
    consortium: Where = CONSORTIUM,
    retrain: Annotated[
        str, typer.Option(metavar="RUN", help="Then train this run again without the site, and compare.")
    ] = "",
    name: Annotated[str, typer.Option(help="Name of that new run; without it, RUN-without-SITE.")] = "",
) -> None:
    """A site takes back what it gave: shut it out, end its runs, mark their models. The server has to run.

    DONE: its key is never let in again; runs with it that go on are stopped; a run in which an answer of it counts is
    not started again, not even to deliver its model; the model's card says that the site withdrew, and `ra-server
    publish` refuses it without --despite-withdrawal. Given again, it does what is left to do.

    NOT DONE: nothing is taken out of a model, since an update is only there as part of sums. Models that were delivered
    or published stay with those who have them. Records of the runs stay here.

    --retrain trains the study anew with the other sites, from its beginning and with another seed, follows the run and
    compares the errors on healthy images that the sites tell. The same command again goes on with it, or tells the end.
    The other sites spend rounds and privacy for it, as for any run.
    """
    from ra_core.errors import ConfigError  # noqa: PLC0415 - this and those below take time, and `--help` needs none
    from server.consortium import load_consortium  # noqa: PLC0415
    from server.operation.operate import retrain_run  # noqa: PLC0415
    from server.operation.withdrawal import withdraw as take_back  # noqa: PLC0415
    from server.provisioning.admission import reached  # noqa: PLC0415

    if name and not retrain:
        raise ConfigError("--name is of the new run, and there is none without --retrain", "add --retrain RUN")
    ours = load_consortium(consortium)
    for line in take_back(ours, reached(ours), site, dt.datetime.now(dt.UTC)):
        typer.echo(line)
    if retrain:
        retrain_run(ours, retrain, name, typer.echo)
