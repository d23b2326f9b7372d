"""`ra-client check`: the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.options import Cache, Data

__all__ = ["check"]


def check(
    site: Annotated[Path, typer.Argument(help="Site config (YAML); `ra-client init` writes one.")],
    data: Data = None,
    study: Annotated[Path | None, typer.Option(help="Study config (YAML); without it, the defaults.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of check.html and check.json; without it, the site's state folder or ./check-SITE."),
    ] = None,
    profile: Annotated[
        list[Path] | None,
        typer.Option(
            help="Profile (JSON) to compare the site's images with; several, of a consortium's sites, are merged."
        ),
    ] = None,
    write_profile: Annotated[
        Path | None, typer.Option(help="Write a profile of this site's healthy images: aggregate numbers only.")
    ] = None,
    cache: Cache = None,
) -> None:
    """Read every file of the site and say whether it can join, and what to look at before.

    Prints counts and codes only. DIR/check.html and DIR/check.json hold images and file names: they stay at the site.
    Ends with 0 where nothing forbids joining, else with 18.
    """
    from client.check.run import run_check  # noqa: PLC0415 - it takes seconds, and `--help` doesn't need it

    run_check(site, data, study, out, profile or [], write_profile, cache)
