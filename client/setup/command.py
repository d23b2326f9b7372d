"""`ra-client init` and `ra-client config`: the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["config", "init"]


def init(
    folder: Annotated[Path, typer.Argument(help="Folder with the hospital's images.")],
    out: Annotated[Path, typer.Option(help="Site config to write (YAML).")] = Path("site.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a commented site config by looking at a folder: at all its names and at some headers. Asks nothing.

    What is printed are counts and advice, without any name from the folder.
    """
    from client.setup.draft import write_draft  # noqa: PLC0415 - it takes seconds, and `--help` doesn't need it

    for line in write_draft(folder, out, force):
        typer.echo(line)


def config() -> None:
    """Explain every key of a site config: prints a commented file with the defaults."""
    from client.setup.draft import explained  # noqa: PLC0415 - as above

    typer.echo(explained(), nl=False)
