"""`ra-simulate train`: a whole run, its bits, and what it takes to stop it."""

import shutil
import signal

import pytest
from filelock import FileLock

from ra_core.artifact import load_artifact

BEFORE = [".lock", "arms", "arms/local_discs", "arms/local_discs/checkpoint.safetensors", "run.json"]
FILES = sorted(
    [
        *BEFORE,
        "arms/local_discs/training.csv",
        "calibration",
        "calibration/local_discs",
        "calibration/local_discs/discs",
        "calibration/local_discs/discs/calibration.json",
        "calibration/local_discs/discs/healthy.safetensors",  # the scoring chosen here is standardised
        "galleries",
        "galleries/discs.png",
        "models",
        "models/local_discs",
        "models/local_discs/card.json",
        "models/local_discs/model.safetensors",
        "report.html",
        "results.csv",
    ]
)
MOMENTS = {
    "before the first checkpoint": lambda desk: bool(desk.record()),
    "in mid-training": lambda desk: desk.checkpoint_step() >= 15,
    "during evaluation": lambda desk: "training local: discs" in desk.record().get("seconds", {}),
}


def test_a_run_leaves_model_numbers_and_pictures(finished):
    assert finished.files() == FILES
    record = finished.record()
    assert record["status"] == "completed"
    assert (
        load_artifact(finished.out / "models" / "local_discs").card.model_hash == record["model_hash"]["local: discs"]
    )
    assert (finished.out / "results.csv").read_text().startswith("arm,method,scoring,perceptual,")
    assert (finished.out / "galleries" / "discs.png").read_bytes().startswith(b"\x89PNG")
    assert f"\n{finished.steps}," in (finished.out / "arms" / "local_discs" / "training.csv").read_text()


def test_one_seed_gives_the_same_bits_without_the_image_cache(desk, finished, tmp_path):
    process = desk.with_env(RA_CACHE=str(tmp_path / "empty")).train()
    assert process.code == 0, process.stderr
    assert desk.outcome() == finished.outcome()


def test_a_folder_in_which_another_process_is_at_work_is_refused(desk):
    desk.out.mkdir()
    with FileLock(desk.out / ".lock"):
        second = desk.train()
    assert second.code == 17
    assert "another process" in second.stderr
    assert desk.record() == {}


def test_another_seed_gives_another_model(desk, finished):
    process = desk.train("--seed", "1")
    assert process.code == 0, process.stderr
    assert desk.record()["plan"]["study"]["seed"] == 1
    assert desk.record()["model_hash"] != finished.record()["model_hash"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_goes_on_to_the_same_bits(desk, finished, start_until, moment):
    process = start_until(desk, lambda: MOMENTS[moment](desk))
    process.kill()
    assert desk.finish(process).code == -signal.SIGKILL
    assert desk.record()["status"] == "running"
    assert not (desk.out / "results.csv").exists()
    # what a kill within a write would have left
    desk.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    (desk.checkpoint.parent / ".checkpoint.safetensors.0123abcd").write_bytes(b"half")

    process = desk.train()
    assert process.code == 0, process.stderr
    assert desk.outcome() == finished.outcome()
    history = "arms/local_discs/training.csv"
    assert (desk.out / history).read_bytes() == (finished.out / history).read_bytes()
    assert desk.files() == FILES


def test_ctrl_c_in_training_keeps_a_checkpoint_and_says_how_to_go_on(desk, finished, start_until):
    process = start_until(desk, lambda: desk.checkpoint_step() >= 15)
    process.send_signal(signal.SIGINT)
    stopped = desk.finish(process)
    assert stopped.code == 130
    assert stopped.stderr.splitlines()[-1] == "stopped; the same command goes on where it was in out"
    step = desk.checkpoint_step()
    assert 15 <= step < desk.steps

    process = desk.train()
    assert process.code == 0, process.stderr
    assert f"going on from step {step}" in process.stderr
    assert desk.outcome() == finished.outcome()


def test_sigterm_during_evaluation_stops_as_cleanly(desk, start_until):
    process = start_until(desk, lambda: MOMENTS["during evaluation"](desk))
    process.terminate()
    stopped = desk.finish(process)
    assert stopped.code == 130
    assert stopped.stderr.splitlines()[-1] == "stopped; the same command goes on where it was in out"
    assert desk.checkpoint_step() == desk.steps
    assert desk.files() == BEFORE


@pytest.mark.parametrize(
    "lost", [[], ["results.csv", "report.html", "galleries/discs.png"]], ids=["nothing", "outputs"]
)
def test_a_finished_run_is_measured_again_but_not_trained(desk, finished, lost):
    shutil.copytree(finished.out, desk.out)
    for name in lost:
        (desk.out / name).unlink()
    untouched = desk.checkpoint.stat().st_mtime_ns
    process = desk.train()
    assert process.code == 0, process.stderr
    assert f"going on from step {desk.steps}" in process.stderr
    assert "KL real" not in process.stderr
    assert desk.checkpoint.stat().st_mtime_ns == untouched
    assert desk.outcome() == finished.outcome()
    assert desk.files() == FILES
    assert desk.record()["status"] == "completed"
