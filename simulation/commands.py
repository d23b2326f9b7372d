"""What `ra-simulate`'s commands do; apart from the command line, since torch comes with it and help needs none."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path, PurePath

from rich.table import Table

from ra_core.console import TerminalReporter
from ra_core.files import cache_folder, sweep
from ra_core.results import ResultRow
from ra_core.runtime import Runtime, available
from ra_core.settings import load_config
from simulation.arms import Engine
from simulation.cohort import CohortConfig, write_cohort
from simulation.config import ExperimentConfig
from simulation.engines import run_flower, run_in_process
from simulation.experiment import Experiment
from simulation.grid import GridConfig
from simulation.grid.page import PAGE, RESULTS, TABLES
from simulation.grid.run import Grid
from simulation.importers.write import Imported
from simulation.places import open_places
from simulation.weights import load_or_fetch

__all__ = ["auroc_table", "import_lines", "make_cohort", "run_experiment", "run_study"]

ENGINES: dict[str, Engine] = {"in-process": run_in_process, "flower": run_flower}


def run_experiment(
    config: ExperimentConfig, base: Path, root: Path | None, out: Path, engine: str, cache: Path | None
) -> list[ResultRow]:
    """Train, measure and write a page; returns what was measured."""
    reporter, image_cache = TerminalReporter(), _image_cache(cache)
    runtime = Runtime.resolve(config.runtime, config.study.training.precision)
    kept_back = config.study.calibration is not None
    places = open_places(config.sites, base, config.study.preprocessing, root, image_cache, reporter, kept_back)
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
        _stopped(reporter, out)
        raise
    reporter.console.print(auroc_table(rows))
    return rows


def run_study(
    config: Path,
    root: Path | None,
    out: Path,
    cache: Path | None,
    jobs: int,
    only: Sequence[str],
    limit: float | None,
) -> list[Path]:
    """Compute a study's cells that aren't there yet; returns the files that were made. Arguments as of `Grid`."""
    reporter, settings = TerminalReporter(), load_config(config, GridConfig)
    available(settings.runtime.device)
    perceptual = load_or_fetch(settings.study.perceptual, settings.runtime.device, reporter)
    grid = Grid(config, settings, root, _image_cache(cache), out, reporter, perceptual)
    try:
        grid.run(jobs, only, limit)
    except KeyboardInterrupt:
        _stopped(reporter, out)
        raise
    return [out / name for name in (RESULTS, TABLES, PAGE)]


def make_cohort(size: int, seed: int, out: Path) -> Path:
    """Virtual hospitals in a folder."""
    config = CohortConfig(size=size, seed=seed)
    patients = sum(h.train + h.val + h.test_healthy + h.test_anomalous for h in config.hospitals)
    with TerminalReporter().task("making virtual patients", patients) as move:
        return write_cohort(config, out, lambda done, _total: move(done, ""))


def import_lines(done: Imported) -> list[str]:
    """What was counted, a line each."""
    total = sum(done.images.values())
    lines = [f"{total} images of {done.patients} patients; {done.boxed} with boxes, {done.masked} with lesion masks"]
    lines += [f"  {split:12} {label:10} {done.images[split, label]}" for split, label in sorted(done.images)]
    lines += [f"left aside: {count} {reason}" for reason, count in done.left.items()]
    return lines + [f"note: {note}" for note in done.notes]


def auroc_table(rows: Sequence[ResultRow]) -> Table:
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


def _image_cache(cache: Path | None) -> Path:
    """Without what a killed run has left half-written."""
    images = (cache or cache_folder()) / "images"
    sweep(images, "**/")
    return images


def _stopped(reporter: TerminalReporter, out: Path) -> None:
    reporter.say(f"stopped; the same command goes on where it was in {out}")


def _command() -> str:
    """What was typed, with the last part of each path alone: the report goes from hand to hand."""
    return " ".join(["ra-simulate", *(PurePath(word).name if "/" in word else word for word in sys.argv[1:])])
