"""`ra-client calibrate`: the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import click
import typer

from client.options import HERE, Cache, Data

__all__ = ["calibrate"]

AUTO = "auto"


def calibrate(
    model: Annotated[Path, typer.Option(help="Model folder; `ra-client models` lists those that came.")],
    site: Annotated[Path, typer.Option(help="Site config (YAML); `ra-client init` writes one.")] = HERE,
    rate: Annotated[
        float | None,
        typer.Option(help="False alarms asked among healthy patients; without it, the consortium's rate, or 0.05."),
    ] = None,
    pixel_rate: Annotated[
        float, typer.Option(help="Share of a healthy patient's pixels that may lie above the map's threshold.")
    ] = 0.05,
    scoring: Annotated[
        str | None,
        typer.Option(
            help="Name of the way to score; without it, that of the model's card, so that the consortium's reference "
            "holds, or where the card has none, the one that finds synthetic anomalies on val images best."
        ),
    ] = None,
    way: Annotated[
        str,
        typer.Option(
            click_type=click.Choice([AUTO, "local", "shrunken", "pooled"]),
            help="Which threshold decides; auto: shrunken where the card has a consortium's reference, else local.",
        ),
    ] = AUTO,
    out: Annotated[Path | None, typer.Option(help="Folder for what is written; without it, the model's.")] = None,
    profile: Annotated[
        list[Path] | None,
        typer.Option(help="The consortium's profile (JSON, see `check`), to tell whether images here look foreign."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="The perceptual network's weights; without it, those on this machine.")
    ] = None,
    data: Data = None,
    cache: Cache = None,
) -> None:
    """Set a model's thresholds on this site's own healthy images, so that it can decide. Nothing is sent.

    Needs healthy images of the splits *train* (they set the scale of maps), *val* (they choose the way to score, where
    it is to be chosen) and *calibration*; without the last, about every second patient of *val* is kept back for it.
    About half of the calibration patients, by a hash, set the thresholds, the others only try them: how many of these
    are above is what the site can believe.

    *local*: from this site's patients alone. A new healthy patient is above it with a chance of at most the rate asked,
    whatever the scores look like; at 0.05 it takes 19 patients in the first half. *pooled*: the consortium's, one for
    all sites; scanners differ, so it may be wrong here. *shrunken*: between the two, the nearer to the site's own the
    more patients it has; only the measured rate tells how good it is.

    Writes calibration.json (and healthy.safetensors), which `ra-client score` finds beside the model or takes as
    --calibration, and calibration.html, the site's card. They are for their owner's eyes and stay here. Where neither
    threshold can be had, there will be scores and no decisions; it says so and ends with 0.
    """
    from client.calibrate.run import Asked, run_calibrate  # noqa: PLC0415 - takes seconds, and `--help` doesn't need it

    asked = Asked(rate, pixel_rate, scoring, None if way == AUTO else way)
    for line in run_calibrate(site, model, asked, out, profile or [], weights, data, cache):
        typer.echo(line)
