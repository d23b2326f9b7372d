"""Arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["HERE", "Cache", "Data", "Member"]

HERE = Path("site.yaml")
"""The site config where none is given."""

Member = Annotated[Path, typer.Argument(help="Site config (YAML) with state and server.")]
Data = Annotated[
    Path | None, typer.Option(envvar="RA_DATA", help="Data root; goes before data.root of the site config.")
]
Cache = Annotated[
    Path | None,
    typer.Option(envvar="RA_CACHE", help="Folder for what was seen; without it, the user's cache folder."),
]
