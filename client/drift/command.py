"""`ra-client drift`: the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.options import HERE

__all__ = ["drift"]


def drift(
    model: Annotated[Path, typer.Option(help="Model folder.")],
    site: Annotated[Path, typer.Option(help="Site config (YAML) that studies were scored with.")] = HERE,
    calibration: Annotated[
        Path | None, typer.Option(help="This site's calibration of the model; without it, the one beside the model.")
    ] = None,
    month: Annotated[str | None, typer.Option(help="As 2026-01; without it, the last with scored studies.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with 33 where something has moved; without it, always with 0.")
    ] = False,
) -> None:
    """Compare what was scored in a month with the healthy patients of the calibration, and say whether it still fits.

    `ra-client score --site SITE.yaml` keeps histograms of scores and of plain numbers of the pictures in the state
    folder. Four checks are made of them: *scores*, *intensity* (brightness, contrast, foreground, sharpness),
    *orientation* and *size* (rows, columns, spacing). For each number it prints how many studies there are, the largest
    difference of distribution functions (KS) and how much larger it may be since histograms have cells, the stability
    index of these cells (PSI; 0.1 is little, 0.25 much), and the chance of such a difference if nothing had changed,
    corrected for all that is compared. It also says how large a difference so many studies could have shown.

    Patients of a month are not all healthy, so higher scores alone may be findings; moved intensity, orientation or
    size tell of scanner, protocol or export. Nothing is sent.
    """
    from client.drift.run import run_drift  # noqa: PLC0415 - it takes seconds, and `--help` doesn't need it

    for line in run_drift(site, model, calibration, month, strict):
        typer.echo(line)
