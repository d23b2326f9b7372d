"""`ra-client leak`: the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.options import HERE, Cache, Data

__all__ = ["leak"]


def leak(
    model: Annotated[Path, typer.Option(help="Model folder; `ra-client models` lists those that came.")],
    site: Annotated[Path, typer.Argument(help="Site config (YAML) of a site that the model was trained at.")] = HERE,
    study: Annotated[
        Path | None,
        typer.Option(help="The consortium's study config (YAML): how models are trained; without it, the defaults."),
    ] = None,
    pairs: Annotated[
        int, typer.Option(min=1, max=128, help="Pairs of reference models that are trained here; more see sharper.")
    ] = 4,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of each reference model; without it, those of the model's card.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of reference models and intervals; the same gives the same.")] = 0,
    data: Data = None,
    cache: Cache = None,
) -> None:
    """Attack a model as somebody would who wants to know whether a patient of this site was in its training.

    The attacker is given the model and images of healthy patients: those of the split *train*, and those that the model
    never learned from (*val*, and the healthy ones of *test*). He has to tell which are which. Printed are AUROCs with
    intervals over patients: 0.5 is tossing a coin, 1 is certainty.

    *loss gap*: whom the model draws better was rather trained on. *likelihood ratio*: the same, held against models
    that are trained here on halves of the same patients, and have not seen the one in question; it is the stronger one.
    *images alone*: what those models say without the attacked one. If that is far from 0.5, the two groups of patients
    differ by themselves, and the loss gap can't be read.

    An interval that holds 0.5 says that these attacks fail with so many patients, not that none can succeed.

    Training the reference models takes as long as so many trainings of the site alone; Ctrl-C ends it, and nothing is
    kept of them. MODEL/leak.json has the numbers, and `ra-client models` shows them. Nothing is sent.
    """
    from client.leak.run import run_leak  # noqa: PLC0415 - it takes seconds, and `--help` doesn't need it

    for line in run_leak(site, model, study, pairs, steps, seed, data, cache):
        typer.echo(line)
