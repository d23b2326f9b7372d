"""`ra-simulate experiment`: two engines, kills in any round, one table."""

import json
import shutil
import signal

import pytest
import yaml
from hospitals import write_hospitals

from ra_core.settings import load_config
from ra_core.storage import load_tensors
from simulation.config import ExperimentConfig

ROUNDS = 3
COMMAND = ("experiment", "experiment.yaml", "--out", "out", "--data")


@pytest.fixture(scope="session")
def make_study_desk(make_desk, site_root):
    def make(folder):
        desk = make_desk(folder)
        nodes = write_hospitals(site_root, folder / "sites", ("anna", "berta"))
        study = yaml.safe_load((folder / "study.yaml").read_text())
        study["method"]["warmup_steps"] = 2
        study["training"]["steps"] = 2 * ROUNDS
        study["federation"] = {"rounds": ROUNDS, "local_steps": 2}
        sites = [{"config": str(node.site_config)} for node in nodes]
        desk.save(
            "experiment.yaml",
            {"title": "Two", "sites": sites, "local": ["anna"], "runtime": {"threads": 1}, "study": study},
        )
        load_config(folder / "experiment.yaml", ExperimentConfig)
        return desk

    return make


@pytest.fixture(scope="session")
def undisturbed(make_study_desk, tmp_path_factory):
    desk = make_study_desk(tmp_path_factory.mktemp("study"))
    process = desk.run(*COMMAND, desk.data)
    assert process.code == 0, process.stderr
    return desk


@pytest.fixture
def study_desk(make_study_desk, undisturbed, tmp_path):
    """Another desk with the very same files: paths in manifests are part of no result."""
    return make_study_desk(tmp_path)


def rounds_done(desk):
    try:
        return load_tensors(desk.out / "arms" / "federated" / "checkpoint.safetensors")[1]["round"]
    except OSError:  # none yet, or the last one is just being put aside
        return 0


@pytest.fixture
def end_when(start_until):
    def end(desk, condition, number=signal.SIGKILL, *options):
        process = start_until(desk, condition, *COMMAND, desk.data, *options)
        process.send_signal(number)
        return desk.finish(process)

    return end


def test_the_page_and_the_table_are_there(undisturbed):
    record = undisturbed.record()
    assert record["status"] == "completed"
    assert set(record["model_hash"]) == {"federated", "local: anna"}
    assert "average of trained sites" in (undisturbed.out / "results.csv").read_text()
    assert "<html" in (undisturbed.out / "report.html").read_text()


def test_flower_gives_the_same_table_and_the_same_models(undisturbed, study_desk):
    process = study_desk.run(*COMMAND, study_desk.data, "--engine", "flower")
    assert process.code == 0, process.stderr
    assert study_desk.outcome() == undisturbed.outcome()


@pytest.mark.parametrize("done", range(ROUNDS + 1))
def test_a_run_killed_in_any_round_goes_on_to_the_same_table(undisturbed, study_desk, end_when, done):
    def moment():
        return rounds_done(study_desk) >= done if done else (study_desk.out / "arms" / "federated").exists()

    assert end_when(study_desk, moment).code == -signal.SIGKILL
    process = study_desk.run(*COMMAND, study_desk.data)
    assert process.code == 0, process.stderr
    assert study_desk.outcome() == undisturbed.outcome()


@pytest.mark.night
@pytest.mark.parametrize("engine", ["flower", "in-process"])
def test_flower_killed_in_a_round_goes_on_in_either_engine_to_the_same_table(undisturbed, study_desk, end_when, engine):
    killed = end_when(study_desk, lambda: rounds_done(study_desk) >= 1, signal.SIGKILL, "--engine", "flower")
    assert killed.code == -signal.SIGKILL
    process = study_desk.run(*COMMAND, study_desk.data, "--engine", engine)
    assert process.code == 0, process.stderr
    assert study_desk.outcome() == undisturbed.outcome()


def test_ctrl_c_in_a_round_keeps_the_rounds_before_and_says_how_to_go_on(undisturbed, study_desk, end_when):
    stopped = end_when(study_desk, lambda: rounds_done(study_desk) >= 1, signal.SIGINT)
    assert stopped.code == 130
    assert stopped.stderr.splitlines()[-1] == "stopped; the same command goes on where it was in out"
    assert json.loads((study_desk.out / "run.json").read_text())["status"] == "stopped"
    process = study_desk.run(*COMMAND, study_desk.data)
    assert process.code == 0, process.stderr
    assert study_desk.outcome() == undisturbed.outcome()


def test_what_was_written_is_written_again_where_it_was_lost(undisturbed, study_desk):
    shutil.copytree(undisturbed.out, study_desk.out)
    (study_desk.out / "report.html").unlink()
    process = study_desk.run(*COMMAND, study_desk.data)
    assert process.code == 0, process.stderr
    assert study_desk.outcome() == undisturbed.outcome()
    assert (study_desk.out / "report.html").exists()
