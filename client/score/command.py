"""`ra-client score`: the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["score"]


def score(
    paths: Annotated[
        list[Path], typer.Argument(help="Files and folders: DICOM, NIfTI, PNG, JPEG, TIFF, BMP.", show_default=False)
    ],
    model: Annotated[Path, typer.Option(help="Model folder (card.json and model.safetensors).")],
    out: Annotated[Path, typer.Option(help="Folder for the results; the same command goes on with an unfinished one.")],
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Folder of this site's calibration; without it, the one in the model's folder, where `ra-client "
            "calibrate` writes it. If there is none, there are no decisions."
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="The perceptual network's weights; without it, those on this machine.")
    ] = None,
    site: Annotated[
        Path | None,
        typer.Option(
            help="Site config (YAML), for its limits, for what it ignores, and for its state folder, where histograms "
            "of what was scored are kept for `ra-client drift`; without it, the usual limits and no history."
        ),
    ] = None,
    any_part: Annotated[
        bool,
        typer.Option("--any-part", help="Score other body parts and modalities than the model was trained on too."),
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, max=1024, help="CPU threads.")] = 2,
) -> None:
    """Score studies with a trained model, on this machine alone. Nothing of it leaves the site.

    Writes scores.csv, an overlay for each study, a DICOM series or NIfTI map beside DICOM or NIfTI input, and
    index.html with the highest score first. With each decision stands what its threshold promises, or why there is
    none: `ra-client calibrate` makes the calibration. Ctrl-C ends it after the study at hand. Not for diagnosis.
    """
    from client.score.run import run_score  # noqa: PLC0415 - it takes seconds, and `--help` doesn't need it

    run_score(paths, model, out, calibration, weights, site, any_part, device, threads)
