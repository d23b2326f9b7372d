import csv
import json
import shutil

import pytest
import torch
import yaml
from hospitals import SETTINGS, write_hospitals

from ra_core.artifact import load_artifact
from ra_core.calibration import load_calibration
from ra_core.config import DataConfig, StudyConfig
from ra_core.data import halves
from ra_core.errors import ConfigError, QuorumError, ResumeError
from ra_core.runtime import Runtime
from simulation.config import ExperimentConfig
from simulation.engines import run_in_process
from simulation.experiment import Experiment
from simulation.places import open_places

pytestmark = pytest.mark.slow

STUDY = SETTINGS | {
    "training": {"batch_size": 4, "steps": 4, "validate_every": 1, "checkpoint_every": 1, "precision": "fp32"},
    "evaluation": {"bootstrap": 100, "gallery": 2, "reference_images": 8},
}


class Silent:
    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)

    def task(self, title, total=0, done=0):
        import contextlib

        return contextlib.nullcontext(lambda done, detail: None)

    counted = task


@pytest.fixture(scope="module")
def hospitals(site_root, tmp_path_factory):
    """Three hospitals; the second's images may not be shown, the third has none of healthy people and borrows."""
    folder = tmp_path_factory.mktemp("hospitals")
    nodes = write_hospitals(site_root, folder, ("anna", "berta", "clara"))
    settings = yaml.safe_load(nodes[1].site_config.read_text())
    settings["data"]["pictures"] = False
    nodes[1].site_config.write_text(yaml.safe_dump(settings))
    header, *rows = list(csv.reader((folder / "clara.csv").open()))
    label = header.index("label")
    with (folder / "clara.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *(row for row in rows if row[label] == "anomalous")])
    return nodes


@pytest.fixture
def config(hospitals):
    sites = [{"config": str(node.site_config)} for node in hospitals]
    sites[2]["healthy_of"] = "anna"
    settings = {"title": "Three", "sites": sites, "local": ["anna"], "pooled": True, "runtime": {"threads": 1}}
    return settings | {"study": STUDY}


@pytest.fixture
def experiment(hospitals, few_channels, site_root, tmp_path):
    def make(settings, out=tmp_path / "out", engine=run_in_process):
        config = ExperimentConfig.model_validate(settings)
        runtime = Runtime.resolve(config.runtime, "fp32")
        cache = hospitals[0].cache
        places = open_places(config.sites, tmp_path, config.study.preprocessing, site_root, cache, Silent())
        return Experiment(config, places, cache, few_channels, runtime, out, engine, "ra-simulate experiment", Silent())

    return make


@pytest.fixture(scope="module")
def finished(hospitals, few_channels, site_root, tmp_path_factory):
    sites = [{"config": str(node.site_config)} for node in hospitals]
    sites[2]["healthy_of"] = "anna"
    config = ExperimentConfig.model_validate(
        {
            "title": "Three",
            "sites": sites,
            "local": ["anna"],
            "pooled": True,
            "runtime": {"threads": 1},
            "study": STUDY,
        }
    )
    out = tmp_path_factory.mktemp("finished") / "out"
    places = open_places(config.sites, out, config.study.preprocessing, site_root, hospitals[0].cache, Silent())
    runtime = Runtime.resolve(config.runtime, "fp32")
    Experiment(
        config,
        places,
        hospitals[0].cache,
        few_channels,
        runtime,
        out,
        run_in_process,
        "ra-simulate experiment",
        Silent(),
    ).run()
    return out


@pytest.mark.usefixtures("undrawn")
def test_a_study_that_asks_for_it_has_thresholds_over_all_sites_on_the_models_card(
    hospitals, config, few_channels, site_root, tmp_path
):
    """None of whose patients chose a model: they are kept back from the validation images of all arms."""
    asked = {"calibration": {}, "evaluation": STUDY["evaluation"] | {"image_fpr": 0.6}}
    settings = config | {"study": STUDY | asked, "local": [], "pooled": False}
    found = ExperimentConfig.model_validate(settings)
    runtime = Runtime.resolve(found.runtime, "fp32")
    cache = hospitals[0].cache
    asking = found.sites, tmp_path, found.study.preprocessing, site_root, cache, Silent()
    places = open_places(*asking, True)
    for place, whole in zip(places, open_places(*asking), strict=True):
        kept = len(whole.images.val) - len(place.images.val)
        assert kept > 0
        assert place.borrows or len(place.images.calibration) == kept
    out = tmp_path / "out"
    Experiment(found, places, cache, few_channels, runtime, out, run_in_process, "", Silent()).run()
    card = load_artifact(out / "models" / "federated").card
    assert [site.site for site in card.calibration.sites] == [place.name for place in places if place.trained]
    assert card.calibration.rate == 0.6
    trained = [place.images.calibration for place in places if place.trained]
    assert [site.local.n for site in card.calibration.sites] == [len(halves(images)[0]) for images in trained]


def rows_of(out):
    with (out / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_model_is_measured_at_every_site(finished):
    found = {(r["arm"], r["train_sites"], r["test_site"]) for r in rows_of(finished) if r["method"] == "ra"}
    for arm, sites in (("federated", "anna+berta"), ("pooled", "anna+berta"), ("local", "anna")):
        assert {(arm, sites, site) for site in ("anna", "berta", "clara")} <= found


def test_no_image_of_a_site_is_shown_whose_config_forbids_it(finished):
    assert sorted(file.stem for file in (finished / "galleries").iterdir()) == ["anna", "clara"]
    page = (finished / "report.html").read_text()
    assert "None of berta are shown: its config forbids it." in page
    assert "at berta.</b> Scoring" not in page


def test_models_calibrations_and_the_page_are_there(finished):
    record = json.loads((finished / "run.json").read_text())
    assert record["status"] == "completed"
    assert record["absent"] == []
    for name, folder in (("federated", "federated"), ("pooled", "pooled"), ("local: anna", "local_anna")):
        artifact = load_artifact(finished / "models" / folder)
        assert artifact.card.model_hash == record["model_hash"][name]
        assert (artifact.card.anatomy, artifact.card.modality) == ("none", "OT")
        for site in ("anna", "berta", "clara"):
            load_calibration(finished / "calibration" / folder / site, artifact.card)
    assert len(set(record["model_hash"].values())) == 3
    page = (finished / "report.html").read_text()
    assert "Three" in page
    assert "federated" in page


def test_a_site_without_healthy_images_has_rates_and_no_auroc(finished):
    rows = [r for r in rows_of(finished) if r["test_site"] == "clara" and r["arm"] == "federated"]
    auroc = [r for r in rows if r["metric"] == "auroc"]
    assert auroc
    assert not any(r["anomaly"].startswith("synthetic") for r in rows)
    assert all(r["value"] == "" and "not estimable" in r["note"] for r in auroc)
    rates = [r for r in rows if r["metric"] == "detection_rate" and r["anomaly"] == "all"]
    assert all(r["value"] for r in rates)
    assert all("healthy reference images of anna" in r["note"] for r in rows)


def test_averages_leave_out_a_site_that_borrows(finished):
    averages = [r for r in rows_of(finished) if r["test_site"].startswith("average")]
    assert {r["test_site"] for r in averages} == {"average of trained sites"}
    assert any(r["scoring"] == "chosen" for r in averages)


@pytest.mark.usefixtures("undrawn")
def test_the_same_experiment_gives_the_same_table_and_goes_on_from_any_part(experiment, config, finished, tmp_path):
    out = tmp_path / "again"
    shutil.copytree(finished, out)
    for lost in ("results.csv", "report.html", "arms/local_anna/checkpoint.safetensors"):
        (out / lost).unlink()
    experiment(config, out).run()
    assert (out / "results.csv").read_bytes() == (finished / "results.csv").read_bytes()
    before, after = (json.loads((f / "run.json").read_text()) for f in (finished, out))
    assert before["model_hash"] == after["model_hash"]


def test_other_settings_are_refused_in_the_same_folder(experiment, config, finished, tmp_path):
    out = tmp_path / "again"
    shutil.copytree(finished, out)
    with pytest.raises(ResumeError, match="another arms"):
        experiment(config | {"pooled": False}, out).run()


def test_a_failed_federation_stands_in_the_record(experiment, config, tmp_path):
    def fails(*_):
        raise QuorumError("round 1: too few", "mend")

    with pytest.raises(QuorumError):
        experiment(config, engine=fails).run()
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (record["status"], record["reason"]) == ("failed", "QuorumError: round 1: too few")


def test_what_fails_while_writing_is_not_called_completed(experiment, config, tmp_path, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("simulation.experiment.write_report", full_disk)
    with pytest.raises(OSError, match="No space"):
        experiment(config | {"sites": config["sites"][:1], "pooled": False, "federated": False}).run()
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (record["status"], record["reason"]) == ("failed", "OSError: [Errno 28] No space left on device")


def test_a_folder_with_things_of_no_run_is_left_alone(experiment, config, tmp_path):
    notes = tmp_path / "out" / "docs" / ".notes.deadbeef"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    with pytest.raises(ResumeError, match="'docs', which is of no run"):
        experiment(config).run()
    assert notes.read_text() == "mine"


@pytest.mark.usefixtures("undrawn")
def test_a_rejected_site_makes_the_run_degraded_and_is_told_with_its_reason(experiment, config, tmp_path):
    def with_rejection(study, nodes, runtime, folder, on_progress):
        from dataclasses import replace

        progress = run_in_process(study, nodes, runtime, folder, on_progress)
        first = replace(progress.records[0], answered=("anna",), missing={"berta": "holds NaN"})
        progress.records[0] = first
        return progress

    experiment(config | {"sites": config["sites"][:2], "pooled": False, "local": []}, engine=with_rejection).run()
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["status"] == "degraded"
    assert record["absent"] == ["round 1: berta: holds NaN"]
    assert "holds NaN" in (tmp_path / "out" / "report.html").read_text()


def test_unequal_budgets_and_unshared_layers_are_refused(config):
    for federation, reason in (
        ({"rounds": 3, "local_steps": 2}, "same budget"),
        ({"patience": 2}, "none may end early"),
        ({"local_norms": True}, "share all parts"),
    ):
        bad = config | {"study": STUDY | {"federation": SETTINGS["federation"] | federation}}
        with pytest.raises(ValueError, match=reason):
            ExperimentConfig.model_validate(bad)


def test_a_local_model_twice_and_averages_that_a_federation_has_not_are_refused(config):
    with pytest.raises(ValueError, match="'anna' stands there twice"):
        ExperimentConfig.model_validate(config | {"local": ["anna", "anna"]})
    averaged = STUDY | {"training": STUDY["training"] | {"ema_decay": 0.9}}
    with pytest.raises(ValueError, match="ema_decay"):
        ExperimentConfig.model_validate(config | {"study": averaged})


@pytest.mark.parametrize("name", ["../../x", "", "a+b", ".hidden", "a/b", "a\n"])
def test_a_sites_name_can_lead_nowhere(name):
    with pytest.raises(ValueError, match="pattern"):
        DataConfig(site=name)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"local": ["nobody"]}, "'nobody' is no site"), ({"local": ["clara"]}, "'clara' is no site")],
)
def test_a_local_model_of_no_such_site_is_refused(experiment, config, change, reason):
    with pytest.raises(ConfigError, match=reason):
        experiment(config | change).run()


def test_healthy_images_of_an_unknown_site_are_refused(experiment, config):
    sites = [*config["sites"][:2], config["sites"][2] | {"healthy_of": "nobody"}]
    with pytest.raises(ConfigError, match="healthy_of 'nobody'"):
        experiment(config | {"sites": sites})


def test_shipped_experiments_are_valid():
    from pathlib import Path

    import simulation
    from ra_core.settings import load_config

    for name in ("quickstart", "quickstart_full", "brain", "chest"):
        path = Path(simulation.__file__).parent / "studies" / f"{name}.yaml"
        config = load_config(path, ExperimentConfig)
        assert isinstance(config.study, StudyConfig)
        assert yaml.safe_load(path.read_text())["title"] == config.title
        if not name.startswith("quickstart"):
            assert all((path.parent / site.config).exists() for site in config.sites)
    assert torch.get_num_threads() >= 1
