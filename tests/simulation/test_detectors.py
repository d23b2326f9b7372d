"""Experiments of methods that measure a distance, and of those that hold images."""

import csv
import json

import pytest
from hospitals import write_hospitals
from looking import SMALL
from pydantic import ValidationError

from ra_core.artifact import load_artifact
from ra_core.evaluation import NO_MAP
from ra_core.models import features
from ra_core.runtime import Runtime
from simulation.config import ExperimentConfig
from simulation.engines import run_in_process
from simulation.experiment import Experiment
from simulation.grid.silent import Silent
from simulation.places import open_places

pytestmark = pytest.mark.slow

PADIM = {"name": "padim", "channels": 20} | SMALL
PIXEL = {"pixel_auroc", "pixel_auprc", "oracle_dice", "dice"}


@pytest.fixture(autouse=True)
def made_small(monkeypatch, untrained_perceptual, undrawn):
    monkeypatch.setattr(features, "pretrained", lambda *_: untrained_perceptual)


def settings(method, **changes):
    study = {
        "preprocessing": {"size": 64},
        "method": method,
        "training": {"steps": 1},
        "federation": {"rounds": 1, "local_steps": 1},
        "evaluation": {"bootstrap": 100, "gallery": 1, "reference_images": 8},
    }
    return {"title": "One pass", "federated": False, "runtime": {"threads": 1}, "study": study} | changes


@pytest.fixture
def run(site_root, tmp_path, untrained_perceptual):
    def ran(method, **changes):
        nodes = write_hospitals(site_root, tmp_path)
        sites = [{"config": str(node.site_config)} for node in nodes]
        config = ExperimentConfig.model_validate(settings(method, **changes) | {"sites": sites})
        cache, out = tmp_path / "cache", tmp_path / "out"
        places = open_places(config.sites, tmp_path, config.study.preprocessing, site_root, cache, Silent())
        runtime = Runtime.resolve(config.runtime, "fp32")
        reporter = Silent()
        Experiment(config, places, cache, untrained_perceptual, runtime, out, run_in_process, "x", reporter).run()
        return out

    return ran


def rows_of(out, method):
    with (out / "results.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["method"] == method]


def test_a_federated_detector_is_measured_and_its_model_kept(run, untrained_perceptual):
    out = run(PADIM, federated=True)
    rows = rows_of(out, "padim")
    assert {row["scoring"] for row in rows if "average" not in row["test_site"]} == {
        "distance", "distance_top", "standardised_distance", "standardised_distance_top",
    }  # fmt: skip
    assert not [row for row in rows if row["metric"] in ("ssim", "lpips", "squared_error")]
    assert all(row["value"] for row in rows if row["metric"] in PIXEL)
    assert load_artifact(out / "models" / "federated").card.features == untrained_perceptual.digest
    assert json.loads((out / "run.json").read_text())["plan"]["features_hash"] == untrained_perceptual.digest


def test_a_method_that_gives_one_number_an_image_has_no_pixel_numbers(run):
    rows = rows_of(run({"name": "mahalanobis", "components": 4}, local=["anna"]), "mahalanobis")
    assert {row["scoring"] for row in rows if "average" not in row["test_site"]} == {"distance"}
    pixel = [row for row in rows if row["metric"] in PIXEL]
    assert {row["metric"] for row in pixel} == PIXEL
    assert all(row["value"] == "" for row in pixel)
    at_sites = [row for row in pixel if "average" not in row["test_site"]]
    assert all(NO_MAP in row["note"] for row in at_sites)
    assert all((row["n_healthy"], row["n_anomalous"]) == ("6", "6") for row in at_sites)
    assert all(row["value"] for row in rows if row["metric"] in ("auroc", "auprc"))


def test_a_bank_is_measured_and_leaves_no_model(run):
    out = run({"name": "nearest_neighbour"}, local=["anna"])
    assert not (out / "models").exists()
    assert not (out / "calibration").exists()
    assert json.loads((out / "run.json").read_text())["model_hash"] == {"local: anna": ""}
    rows = [row for row in rows_of(out, "nearest_neighbour") if row["train_sites"] == "anna"]
    at = {site: {row["scoring"] for row in rows if row["test_site"] == site} for site in ("anna", "berta")}
    assert not any(scoring.startswith("standardised") for scoring in at["anna"])
    assert any(scoring.startswith("standardised") for scoring in at["berta"])


@pytest.mark.parametrize("name", ["nearest_neighbour", "patchcore"])
def test_a_bank_cannot_be_federated(name):
    sites = [{"config": "a.yaml"}]
    with pytest.raises(ValidationError, match=f"no federation can train {name}: its bank holds"):
        ExperimentConfig.model_validate(settings({"name": name}, federated=True) | {"sites": sites})
    ExperimentConfig.model_validate(settings({"name": name}, pooled=True) | {"sites": sites})
