"""Measuring a cell's models at every site."""

from __future__ import annotations

import time
from typing import Any

from ra_core.baselines import evaluate_shortcuts
from ra_core.evaluation import Evaluation, evaluate
from ra_core.glossary import SHORTCUT
from ra_core.metrics import Estimate
from ra_core.models.method import Method
from ra_core.results import ResultRow
from ra_core.runtime import Runtime, software_versions
from ra_core.scoring import Scorer
from ra_core.shortcuts import SLICE_HEIGHT
from ra_core.site_scorer import batches
from ra_core.table import Table
from simulation.arms import Reporter
from simulation.grid.alarms import healthy_cells
from simulation.grid.arms import ARMS
from simulation.grid.cells import Cell
from simulation.grid.pictures import chosen_of, draw_outputs
from simulation.grid.result import SHOWN_BESIDE, CellResult, HealthyScores, numbers
from simulation.grid.train import Models
from simulation.grid.workbench import Workbench
from simulation.places import Place

__all__ = ["CELL_VERSION", "KEPT", "MEASURING_SEED", "measure", "measure_shortcuts"]

KEPT = (*SHOWN_BESIDE, "reconstruction", "none")
"""What every cell keeps numbers of beside the chosen scoring."""

MEASURING_SEED = 0
"""Of bootstrap, synthetic anomalies and reference images: the same for all cells, so that they can be paired."""

CELL_VERSION = 5
"""Grows whenever cells computed before would have other numbers for a reason that no other part of their digest tells.

2: SSIM in lesions and elsewhere. 3: standardised maps are 0 where no tissue is. 4: fused optimizers, whose rounding is
another. 5: signed residuals at the image's own brightness; synthetic anomalies that dim the rest. What only rounds
otherwise isn't counted after 4: another processor does so too, and docs/results.md says which cells are older.
"""

NO_HEIGHT = "not known: files are single pictures"
NO_MODEL = "not estimable: parts of the model are each site's own, and this site took no part"


def measure(
    cell: Cell, digest: str, models: Models, bench: Workbench, training_seconds: float, reporter: Reporter
) -> tuple[CellResult, dict[str, bytes]]:
    """A finished cell; and pictures by site, as `draw_outputs` makes them, where there are sick images to be shown.

    Args:
        cell: what was trained.
        digest: of what its numbers depend on.
        models: what came out.
        bench: sites and machine.
        training_seconds: that training took.
        reporter: told how many sites are done.
    """
    began, scorer, machine = time.monotonic(), Scorer(bench.perceptual), bench.machine
    found: dict[str, Evaluation] = {}
    rows: list[ResultRow] = []
    pictures: dict[str, bytes] = {}
    with reporter.task("measuring, sites", len(bench.places)) as move:
        for done, place in enumerate(bench.places):
            move(done, place.name)
            table = _table(cell, place)
            method = models.by_site.get(place.name)
            if method is None:
                rows.append(table.row(cell.method, "none", "auroc", Estimate(None, None, None, 0, 0, NO_MODEL)))
                continue
            found[place.name] = _evaluate(method, cell, scorer, place, table, machine)
            rows += found[place.name].rows
            if place.config.data.pictures and chosen_of(place.images.test):
                pictures[place.name] = draw_outputs(place.images.test, found[place.name])
    chosen = {site: evaluation.chosen.name for site, evaluation in found.items()}
    result = CellResult(
        **_known(cell, digest, bench),
        config=cell.study.method.name,
        model_hash=models.hashes,
        selected=models.selected,
        chosen=chosen,
        synthetic={site: evaluation.synthetic[chosen[site]] for site, evaluation in found.items()},
        adapted=models.adapted,
        degraded=models.degraded,
        numbers=numbers(rows, chosen, KEPT),
        healthy={p.name: _healthy(p, found[p.name], cell) for p in bench.places if p.name in found and not p.borrows},
        seconds={"training": round(training_seconds, 1), "measuring": round(time.monotonic() - began, 1)},
    )
    return result, pictures


def measure_shortcuts(cell: Cell, digest: str, bench: Workbench) -> CellResult:
    """What plain numbers of the picture tell, once for all cells of a study; arguments as of `measure`."""
    began, rows = time.monotonic(), list[ResultRow]()
    for place in bench.places:
        table = _table(cell, place)
        found = evaluate_shortcuts(place.images, table)
        if not any(row.scoring == SLICE_HEIGHT for row in found):
            found.append(table.row(SHORTCUT, SLICE_HEIGHT, "auroc", Estimate(None, None, None, 0, 0, NO_HEIGHT)))
        rows += found
    return CellResult(
        **_known(cell, digest, bench),
        config=SHORTCUT,
        numbers=numbers(rows, {}, [row.scoring for row in rows]),
        seconds={"training": 0.0, "measuring": round(time.monotonic() - began, 1)},
    )


def _known(cell: Cell, digest: str, bench: Workbench) -> dict[str, Any]:
    """Fields that are known before anything is measured."""
    machine, software = bench.machine.record(), software_versions(cell.study.method)
    return CellResult.named(cell) | {"made_of": digest, "machine": machine, "software": software}


def _evaluate(method: Method, cell: Cell, scorer: Scorer, place: Place, table: Table, machine: Runtime) -> Evaluation:
    method.to(machine.device)
    known = place.reference in cell.variant.sites
    return evaluate(
        method, cell.method, scorer, place.images, table, device=machine.device, known=known, shown=SHOWN_BESIDE
    )


def _healthy(place: Place, found: Evaluation, cell: Cell) -> dict[str, HealthyScores]:
    """Scores that thresholds can be set on: of patients who chose nothing, where the site has kept some back."""
    names = [name for name in SHOWN_BESIDE if name in found.healthy]
    apart, test = place.images.calibration, place.images.test
    setting, scores = place.images.val, found.healthy
    if len(apart):
        setting = apart
        scores = found.scorer.only(names).scores(batches(apart, cell.study.evaluation.batch_size))
    return {
        name: HealthyScores(val=healthy_cells(setting, scores[name]), test=healthy_cells(test, found.scores[name]))
        for name in names
    }


def _table(cell: Cell, place: Place) -> Table:
    sites = "+".join(cell.variant.sites)
    federated = cell.is_trained and ARMS[cell.arm].federation is not None
    arm = "federated" if federated else cell.arm
    return Table(arm, sites, place.name, MEASURING_SEED, cell.study.evaluation, place.note, place.borrows)
