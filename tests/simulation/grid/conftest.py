"""An invented study: three sites trained on, one held out, one without healthy test images; two seeds of RA."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from ra_core.glossary import SHORTCUT
from ra_core.metrics import Estimate
from ra_core.results import ResultRow
from ra_core.thresholds import Histogram
from simulation.grid import GridConfig
from simulation.grid.alarms import SHARED
from simulation.grid.arms import ARMS, UNTRAINED
from simulation.grid.cells import all_cells
from simulation.grid.page import Sites, StudyData, write_study
from simulation.grid.result import CellResult, HealthyScores, Number
from simulation.report.data import SiteFacts

TRAINED, HELD_OUT = ("north", "south", "east"), ("west", "covid")
COUNTS = {"north": (60, 58), "south": (60, 60), "east": (20, 12), "west": (40, 41), "covid": (0, 34)}
GROUPS = ("glioma", "size: small", "size: large")
MEASURED = {
    "auroc": 0.75,
    "auprc": 0.7,
    "pixel_auprc": 0.2,
    "dice": 0.25,
    "detection_rate": 0.5,
    "false_alarm_rate": 0.05,
}
REBUILT = {"ssim": 0.8, "lpips": 0.15}
TWINS = {"ssim_lesion": 0.3, "ssim_rest": 0.7, "squared_error_lesion": 0.2, "lpips_rest": 0.1}
NO_HEALTHY = "not estimable: no healthy test images"
NO_MODEL = "not estimable: parts of the model are each site's own, and this site took no part"
VAL = {"north": 40, "south": 15, "east": 80, "west": 30}
"""Healthy validation patients; covid borrows north's."""
METHODS = {
    "RA": {"settings": {"name": "ra"}},
    "VAE": {"settings": {"name": "vae"}},
    "PaDiM": {"settings": {"name": "padim"}},
    "PatchCore": {"settings": {"name": "patchcore"}},
    "PCA": {"settings": {"name": "pca"}},
    "Mahalanobis": {"settings": {"name": "mahalanobis"}},
}
BLOCKS = [
    {"methods": ["RA"], "seeds": [0, 1]},
    {"methods": ["VAE"], "arms": ["local", "pooled", "fedavg", "leave_one_out", "growing"]},
    {"methods": ["PaDiM", "PatchCore", "PCA", "Mahalanobis"], "arms": ["local", "pooled", "fedavg"]},
]


def estimate(base, *names, counts):
    """A number with bootstrap values that share their patients' luck with all others of the same site and metric."""
    site, metric = names[:2]
    shared = np.random.default_rng(_seed(site, metric)).normal(size=300)
    rng = np.random.default_rng(_seed(*names))
    value = float(np.clip(base + rng.normal() * 0.04, 0.02, 0.97))
    drawn = np.clip(value + 0.02 * shared + 0.008 * rng.normal(size=300), 0, 1)
    return Estimate.of(value, drawn, 0.95, counts)


def _seed(*names):
    return int.from_bytes(hashlib.sha256("|".join(map(str, names)).encode()).digest()[:8], "big")


def rows_of(cell):
    """What an invented cell has, as rows of results."""
    if cell.arm == UNTRAINED:
        yield from _shortcuts()
        return
    plain = "residual" if cell.study.method.reconstructs else "distance"
    lift = {"RA": 0.06, "VAE": 0.03}.get(cell.method, 0.0) + {"local": -0.05, "decoder_only": -0.1}.get(cell.arm, 0)
    for site, counts in COUNTS.items():
        if site == "covid" and ARMS[cell.arm].private:
            yield _row(cell, "none", site, "auroc", Estimate(None, None, None, 0, 0, NO_MODEL))
            continue
        for scoring in (f"{plain}_top", plain, *(["paper"] if plain == "residual" else [])):
            for metric, base in MEASURED.items():
                if metric in ("auroc", "auprc", "false_alarm_rate") and not counts[0]:
                    found = Estimate(None, None, None, *counts, NO_HEALTHY)
                else:
                    found = estimate(base + lift, site, metric, cell.key, scoring, counts=counts)
                yield _row(cell, scoring, site, metric, found)
        for group in GROUPS if counts[1] > 40 else ():
            for metric in ("auroc", "pixel_auprc"):
                found = estimate(MEASURED[metric] + lift, site, metric, cell.key, group, counts=(counts[0], 14))
                yield _row(cell, f"{plain}_top", site, metric, found, group)
        if plain == "residual" and counts[0]:
            for metric, base in REBUILT.items():
                found = estimate(base, site, metric, cell.key, counts=(counts[0], 0))
                yield _row(cell, "reconstruction", site, metric, found, "healthy")
            for metric, base in TWINS.items():
                found = estimate(base, site, metric, cell.key, counts=(0, counts[1]))
                yield _row(cell, "reconstruction", site, metric, found)


def _shortcuts():
    for site, counts in COUNTS.items():
        for name, base in (("brightness", 0.3), ("sharpness", 0.55)):
            if counts[0]:
                found = estimate(base, site, "auroc", name, counts=counts)
                yield ResultRow("none", SHORTCUT, name, "", "", site, "all", "auroc", found, 0)


def _row(cell, scoring, site, metric, found, anomaly="all"):
    sites = "+".join(cell.variant.sites)
    return ResultRow(cell.arm, cell.method, scoring, "", sites, site, anomaly, metric, found, cell.seed)


def healthy_of(cell):
    """Scores of healthy patients whose scanners differ, by site and by scoring."""
    plain = "residual" if cell.study.method.reconstructs else "distance"
    return {
        site: {
            scoring: HealthyScores(
                val=healthy_cells(VAL[site], "val", site, scoring, cell.key),
                test=healthy_cells(COUNTS[site][0], "test", site, scoring, cell.key),
            )
            for scoring in (plain, *(["paper"] if plain == "residual" else []))
        }
        for site in VAL
    }


def healthy_cells(count, split, site, *names):
    rng, level = np.random.default_rng(_seed(split, site, *names)), 1 + list(VAL).index(site) / 3
    return Histogram.of(level * rng.gamma(6.0, 0.01, count)).cells


def result_of(cell):
    rows = [*rows_of(cell)]
    private = cell.arm != UNTRAINED and ARMS[cell.arm].private
    chosen = {row.test_site: row.scoring for row in reversed(rows) if row.scoring.endswith("_top")}
    return CellResult(
        **CellResult.named(cell),
        made_of="",
        config=cell.method,
        chosen=chosen,
        synthetic={site: estimate(0.7, site, "synthetic", cell.key, counts=(9, 9)).value for site in chosen},
        adapted=200 if private else 0,
        numbers=tuple(Number.of(row) for row in rows),
        healthy=healthy_of(cell) if cell.arm in SHARED else {},
        seconds={"training": 61.0, "measuring": 30.0},
        machine={"device": "cpu", "threads": 2, "precision": "fp32", "processor": "some"},
        software={"python": "3.11", "torch": "2"},
    )


def facts(name):
    role, counts = ("trained" if name in TRAINED else "held out"), COUNTS[name]
    return SiteFacts(
        name=name,
        title=name.title(),
        role=role,
        anatomy="brain",
        modality="MR",
        n_train=300,
        n_val=40,
        n_test_healthy=counts[0],
        n_test_anomalous=counts[1],
        used_files=500,
        declared_files=502,
        reference="north" if name == "covid" else name,
        pictures=True,
    )


@pytest.fixture(scope="session")
def study():
    config = GridConfig.model_validate(
        {
            "title": "Three hospitals",
            "sites": [{"config": f"/secret/place/{name}.yaml"} for name in COUNTS],
            "methods": METHODS,
            "blocks": BLOCKS,
            "study": {"evaluation": {"bootstrap": 300}},
        }
    )
    cells = all_cells(config, TRAINED, alone=("west",))
    sites = Sites(tuple(map(facts, COUNTS)), COUNTS)
    return StudyData(config, sites, cells, [*map(result_of, cells)], "ra-simulate study three.yaml --out three")


@pytest.fixture(scope="session")
def written(study, tmp_path_factory):
    """The folder of its page: it takes seconds to write."""
    out = tmp_path_factory.mktemp("page")
    write_study(out, study)
    return out


@pytest.fixture(scope="session")
def number_of():
    """A number of a finished cell; of the scoring that the site chose where none is given."""

    def find(result, site, metric, scoring=None, anomaly="all"):
        wanted = (site, metric, scoring or result.chosen.get(site, ""), anomaly)
        return next((n for n in result.numbers if (n.test_site, n.metric, n.scoring, n.anomaly) == wanted), None)

    return find


@pytest.fixture(scope="session")
def with_results(study):
    """The same with other results."""

    def make(results, **changes):
        return replace(study, results=results, **changes)

    return make
