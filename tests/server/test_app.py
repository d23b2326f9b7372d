"""The ServerApp with sites that answer well at once; what it writes, and what it says when it can't go on."""

import json

import pytest
from answering import answering_app, good_reply
from flwr.app import Context, RecordDict
from hospitals import tiny_federation

from ra_core.errors import ConfigError, QuorumError, ResumeError
from server.app import app
from server.checkpoint import load_progress
from simulation.engines import InProcessGrid

NAMES = ("anna", "berta")


def run(folder, /, behaviour=None, study=None, **changes):
    study = study or tiny_federation()
    (folder / "study.json").write_text(study.model_dump_json())
    settings = {"study-file": str(folder / "study.json"), "folder": str(folder), "sites": ",".join(NAMES)} | changes
    grid = InProcessGrid(answering_app(behaviour), [{"name": name} for name in NAMES])
    app(grid=grid, context=Context(1, 1, {}, RecordDict(), settings))
    return load_progress(folder / "checkpoint.safetensors", study.digest())


def failure(folder):
    return json.loads((folder / "failure.json").read_text())


def test_a_run_leaves_its_checkpoint_and_no_failure(tmp_path):
    (tmp_path / "failure.json").write_text("stale")
    (tmp_path / ".checkpoint.safetensors.0123abcd").write_text("half written")
    done = run(tmp_path)
    assert [record.round for record in done.records] == [1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.safetensors", "study.json"]


def test_a_finished_run_asks_nobody_again(tmp_path):
    def never(site, order):
        raise AssertionError

    first = run(tmp_path)
    assert run(tmp_path, dict.fromkeys(NAMES, never)).records == first.records


def test_a_run_that_lost_its_quorum_says_why_and_goes_on(tmp_path):
    def away(site, order):
        return good_reply(site, order, n_images=0 if order.round == 2 else 5, n_patients=1)

    with pytest.raises(QuorumError):
        run(tmp_path, {"berta": away})
    told = failure(tmp_path)
    assert told["kind"] == "QuorumError"
    assert "berta: its counts can't be true" in told["message"]
    assert told["hint"]
    assert [record.round for record in run(tmp_path).records] == [1, 2, 3]
    assert not (tmp_path / "failure.json").exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"study-file": ""}, "study-file"),
        ({"study-file": "none.yaml"}, "no such file"),
        ({"sites": ""}, "sites"),
        ({"sites": "anna, berta"}, "' berta'"),
        ({"sites": "anna,anna"}, "twice"),
        ({"sites": "anna,ber/ta"}, "ber/ta"),
    ],
)
def test_bad_settings_are_told(tmp_path, changes, reason):
    with pytest.raises(ConfigError, match=reason):
        run(tmp_path, **changes)
    assert failure(tmp_path)["kind"] == "ConfigError"


def test_without_a_folder_nothing_can_be_written(tmp_path):
    with pytest.raises(ConfigError, match="'folder' is empty"):
        run(tmp_path, folder="")


def test_a_part_that_the_method_has_not(tmp_path):
    with pytest.raises(ConfigError, match="no part 'tail'"):
        run(tmp_path, study=tiny_federation(parts=["tail"]))


def test_a_checkpoint_of_another_study_is_not_touched(tmp_path):
    run(tmp_path)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    with pytest.raises(ResumeError):
        run(tmp_path, study=tiny_federation(rounds=3))
    assert failure(tmp_path)["kind"] == "ResumeError"
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


def test_what_is_no_error_of_ours_is_told_too(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("server.app.save_progress", full)
    with pytest.raises(OSError, match="no space"):
        run(tmp_path)
    assert failure(tmp_path) == {"kind": "OSError", "message": "no space left on device", "hint": ""}
