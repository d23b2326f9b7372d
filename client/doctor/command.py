"""`ra-client doctor`: the command."""

from __future__ import annotations

from typing import Annotated

import typer

from client.options import HERE, Cache, Data, Member

__all__ = ["doctor"]


def doctor(
    site: Member = HERE,
    data: Data = None,
    cache: Cache = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead.")] = False,
) -> None:
    """Look at everything that joining needs, one line each, and say what to do about what isn't well.

    Changes nothing, here or at the server. Ends with 0 where all is well, else with the code of the first problem.
    """
    from client.doctor.run import examine, report  # noqa: PLC0415 - it takes seconds, and `--help` doesn't need it

    findings = examine(site, data, cache)
    typer.echo(report(findings, as_json))
    raise typer.Exit(next((finding.code for finding in findings if finding.code), 0))
