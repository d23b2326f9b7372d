"""A study from its settings to finished cells: resumable cell by cell, several at a time where there is room."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from ra_core.data import ImageSet, SiteImages
from ra_core.data.readers import READER_VERSION
from ra_core.errors import ConfigError, ResumeError
from ra_core.files import sweep, write_atomically
from ra_core.memory import return_memory
from ra_core.perceptual import Perceptual
from ra_core.scorings import DISTANCE_SCORINGS, SCORINGS
from ra_core.settings import load_config
from ra_core.synthetic import KINDS
from ra_core.words import duration
from server.run_files import CHECKPOINT, PREVIOUS
from simulation.arms import Reporter
from simulation.grid.beat import Beat
from simulation.grid.cells import Cell, all_cells, refused
from simulation.grid.config import GridConfig
from simulation.grid.estimate import Estimator
from simulation.grid.machine import machine_for
from simulation.grid.measure import CELL_VERSION, MEASURING_SEED, measure, measure_shortcuts
from simulation.grid.memory import free, peak, room_for
from simulation.grid.page import Sites, StudyData, write_study
from simulation.grid.pictures import albums, file_of
from simulation.grid.result import CellResult, load, save
from simulation.grid.silent import Silent
from simulation.grid.train import train
from simulation.grid.workbench import Workbench
from simulation.grid.workers import in_processes
from simulation.places import Place, open_places, read_images
from simulation.run_folder import exclusive

__all__ = ["Grid"]

CELLS, WORK = "cells", "work"


@dataclass
class Grid:
    """A study in a folder.

    Attributes:
        file: its settings.
        config: what stands there.
        root: data root; None takes that of each site's config.
        cache: folder for preprocessed images.
        out: the study's folder: finished cells in `cells`, their `pictures`, checkpoints of others in `work`.
        reporter: told what goes on.
        perceptual: network behind LPIPS.
    """

    file: Path
    config: GridConfig
    root: Path | None
    cache: Path
    out: Path
    reporter: Reporter
    perceptual: Perceptual

    @cached_property
    def places(self) -> list[Place]:
        """The sites, opened."""
        return open_places(
            self.config.sites, self.file.parent, self.config.study.preprocessing, self.root, self.cache, self.reporter
        )

    @cached_property
    def cells(self) -> list[Cell]:
        """All of the study."""
        alone = [place.name for place in self.places if not place.trained and not place.borrows]
        return all_cells(self.config, _trained(self.places), alone)

    @cached_property
    def data(self) -> str:
        """Digest of all sites' data and roles, and of what reads and measures them."""
        facts = [
            [p.name, p.trained, p.reference, *(images.fingerprint() for images in _measured(p.images))]
            for p in self.places
        ]
        scorings = [scoring.model_dump() for scoring in (*SCORINGS, *DISTANCE_SCORINGS)]
        tools = [READER_VERSION, self.perceptual.digest, scorings, [*KINDS], CELL_VERSION, MEASURING_SEED]
        return hashlib.sha256(json.dumps([facts, tools, self.config.adapt_steps]).encode()).hexdigest()

    def finished(self, known: Mapping[str, CellResult] | None = None) -> dict[str, CellResult]:
        """Finished cells by key, in the study's order.

        Args:
            known: those whose files were read before.

        Raises:
            ResumeError: a cell's file can't be read, or is of other settings or data.
        """
        read = known or {}
        found = {cell.key: read.get(cell.key) or self._finished(cell) for cell in self.cells}
        return {key: result for key, result in found.items() if result is not None}

    def _finished(self, cell: Cell) -> CellResult | None:
        result = load(self.out / CELLS, cell.key)
        if result is not None and result.made_of != cell.digest(self.data):
            raise ResumeError(
                f"{self.out / CELLS / cell.key}.json: of other settings or data",
                "delete it to have it computed again, or give another --out",
            )
        return result

    def run(self, jobs: int = 1, only: Sequence[str] = (), limit: float | None = None) -> None:
        """Compute what isn't finished yet, seed by seed, then make page, tables and numbers of all that is.

        Args:
            jobs: cells at a time, each with the threads of `runtime`; fewer where there isn't memory for so many.
            only: names of methods or arms; other cells wait for another time.
            limit: seconds after which no further cell is begun; with 0, only the page is made.

        Raises:
            ConfigError: `only` names what the study doesn't have, or nothing that it asks for can be trained.
            ResumeError: a finished cell is of other settings, or another process is at work in the folder.
            RAError: of any kind: a cell failed. Those finished before stay.
        """
        with exclusive(self.out):
            sweep(self.out / CELLS)
            self._require_some()
            self._require_known(only)
            done = self.finished()
            waiting = [cell for cell in self.cells if cell.key not in done and _wanted(cell, only)]
            waiting.sort(key=lambda cell: cell.seed)  # an interrupted study has all methods to compare, of fewer seeds
            self.reporter.say(f"{len(self.cells)} cells, {len(done)} of them finished, {len(waiting)} to do")
            if waiting and limit != 0:
                read_images(self.places, self.reporter)
                bench = self.bench(done)
                with self.reporter.task("estimating the time", None):
                    estimator = Estimator(bench)
                    seconds = {cell.key: estimator.seconds(cell) for cell in waiting}
                return_memory()
                jobs = self._fitting(jobs)
                told = duration(sum(seconds.values()) / jobs)
                self.reporter.say(f"estimate: {told} on this machine, {jobs} at a time")
                self._compute(waiting, seconds, bench, jobs, limit)
            self._tell(self.finished(done))

    def _fitting(self, jobs: int) -> int:
        """As many as are asked for, or as there is memory for: then that is said."""
        room = room_for(jobs)
        if room < jobs:
            need, left = (f"{size / 2**30:.1f} GiB" for size in (peak(), free()))
            self.reporter.say(f"{room} at a time, not {jobs}: a cell needs about {need}, and {left} of memory are free")
        return room

    def _require_some(self) -> None:
        if not any(cell.is_trained for cell in self.cells):
            why = {f"{one.arm}: {one.reason}" for one in refused(self.config, _trained(self.places))}
            raise ConfigError("blocks: nothing is left to train", "; ".join(sorted(why)))

    def _require_known(self, only: Sequence[str]) -> None:
        known = dict.fromkeys(name for cell in self.cells for name in (cell.method, cell.arm))
        unknown = [name for name in only if name not in known]
        if unknown:
            raise ConfigError(f"--only: '{unknown[0]}' is no method or arm of this study", f"it has {', '.join(known)}")

    def bench(self, known: Mapping[str, CellResult] | None = None) -> Workbench:
        """What all cells share, among it the precision of those that are finished; `known` as of `finished`.

        Raises:
            ResumeError: this machine can't go on in that.
        """
        machine = machine_for(self.finished(known).values(), self.config, self.reporter)
        return Workbench(
            self.places, self.config.runtime, machine, self.perceptual, self.cache, self.config.adapt_steps
        )

    def _compute(
        self, waiting: Sequence[Cell], seconds: dict[str, float], bench: Workbench, jobs: int, limit: float | None
    ) -> None:
        total, began, left = round(sum(seconds.values())), time.monotonic(), dict(seconds)
        with self.reporter.task("estimated seconds", total) as move:

            def show(text: str) -> None:
                move(total - round(sum(left.values())), text)

            for cell in self._each(waiting, bench, jobs, None if limit is None else began + limit, show):
                del left[cell.key]
                show(f"{cell.told}; {len(left)} to go")
        if left:
            self.reporter.say(f"{len(left)} cells were not begun within the time; the same command goes on with them")

    def _each(
        self,
        waiting: Sequence[Cell],
        bench: Workbench,
        jobs: int,
        until: float | None,
        show: Callable[[str], None],
    ) -> Iterator[Cell]:
        """Cells as they get finished."""
        if jobs > 1:
            task = _Task(self.file, self.root, self.cache, self.out)
            yield from in_processes(task, waiting, jobs, until, self.reporter.say)
            return
        for cell in waiting:
            if until is not None and time.monotonic() > until:
                return
            self.compute(cell, bench, Beat(cell.told, show, self.reporter.say))
            yield cell

    def compute(self, cell: Cell, bench: Workbench, reporter: Reporter) -> None:
        """Train and measure one cell and write its file; checkpoints on the way are deleted at the end."""
        work, began = self.out / WORK / cell.key, time.monotonic()
        resumed = any((work / name).exists() for name in (CHECKPOINT, PREVIOUS))
        if cell.is_trained:
            models = train(cell, bench, work, reporter)
            spent = time.monotonic() - began
            result, pictures = measure(cell, cell.digest(self.data), models, bench, spent, reporter)
            result = result.model_copy(update={"resumed": resumed})
            for site, png in pictures.items():
                write_atomically(file_of(self.out, site, result), png, mode=0o600)  # of patients
        else:
            result = measure_shortcuts(cell, cell.digest(self.data), bench)
        save(self.out / CELLS, result)
        shutil.rmtree(work, ignore_errors=True)

    def _tell(self, done: Mapping[str, CellResult]) -> None:
        data = "" if self.root is None else " --data DATA_ROOT"
        command = f"ra-simulate study {self.file.name}{data} --out {self.out.name}"
        with self.reporter.task("making the page", None):
            results = [*done.values()]
            pictures = albums(self.out, self.places, results)
            write_study(self.out, StudyData(self.config, Sites.of(self.places), self.cells, results, command, pictures))


@dataclass(frozen=True)
class _Task:
    """A cell in a process of its own."""

    file: Path
    root: Path | None
    cache: Path
    out: Path

    def __call__(self, key: str) -> None:
        grid, bench = _opened(self)
        grid.compute(next(cell for cell in grid.cells if cell.key == key), bench, Silent())


@lru_cache(maxsize=1)
def _opened(task: _Task) -> tuple[Grid, Workbench]:
    """Once a process: its sites take long to look at."""
    config = load_config(task.file, GridConfig)
    perceptual = Perceptual.load(config.study.perceptual, config.runtime.device)
    grid = Grid(task.file, config, task.root, task.cache, task.out, Silent(), perceptual)
    return grid, grid.bench()


def _measured(images: SiteImages) -> list[ImageSet]:
    """Sets that numbers depend on; calibration images are few sites', and came later than the first cells."""
    return [images.train, images.val, images.test, *([images.calibration] if len(images.calibration) else [])]


def _trained(places: Sequence[Place]) -> list[str]:
    """Names of sites that may be trained on."""
    return [place.name for place in places if place.trained]


def _wanted(cell: Cell, only: Sequence[str]) -> bool:
    return not only or cell.method in only or cell.arm in only
