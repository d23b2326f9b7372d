import json
import threading
import tomllib

import pytest
from consortia import FakeFlower, admit, tell, write_consortium

from ra_core.config import StudyConfig
from ra_core.errors import ConfigError, FlowerError, ResumeError
from ra_core.settings import load_config
from server.bundle import bundle_hash
from server.flower import RunState
from server.operation.run_record import End
from server.operation.runs import Run
from server.rounds.run_settings import RunSettings

STUDY = StudyConfig.model_validate({"federation": {"rounds": 3}})


@pytest.fixture
def run(tmp_path):
    return Run(write_consortium(tmp_path), "study")


@pytest.fixture
def flower():
    return FakeFlower()


def test_a_runs_settings_are_kept_as_they_were_agreed(run):
    run.agree(STUDY, ["anna", "berta"])
    assert load_config(run.study_file, StudyConfig) == STUDY
    assert run.record().sites == ("anna", "berta")
    assert run.agree(STUDY, ["anna", "berta"]) == run.record()


def test_the_same_name_with_other_settings_is_refused(run):
    run.agree(STUDY, ["anna", "berta"])
    with pytest.raises(ResumeError, match="of other sites"):
        run.agree(STUDY, ["anna"])
    with pytest.raises(ResumeError, match="of another study and other sites"):
        run.agree(StudyConfig(), ["anna"])
    assert load_config(run.study_file, StudyConfig) == STUDY


def test_no_run_and_a_damaged_record_are_told_apart(run):
    with pytest.raises(ConfigError, match="there is no run 'study'"):
        run.record()
    run.agree(STUDY, ["anna"])
    (run.folder / "flower.json").write_text('{"sites": 3}')
    with pytest.raises(ResumeError, match=r"flower\.json"):
        run.record()
    with pytest.raises(ConfigError):
        Run(run.consortium, "../out")


def test_it_is_submitted_with_what_the_app_reads(run, flower):
    admit(run.consortium, anna=11, berta=12, carla=13)
    run.agree(STUDY, ["anna", "berta"])
    assert run.submit(flower, "asked")
    record = run.record()
    app, settings = flower.submitted[0]
    assert sorted(path.name for path in app.iterdir()) == ["LICENSE", "pyproject.toml"]
    assert (
        settings.keys() <= tomllib.loads((app / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"].keys()
    )
    assert RunSettings.of(settings).nodes == {11: "anna", 12: "berta"}
    assert settings["run"] == "study"
    assert settings["sites"] == "anna,berta"
    assert settings["folder"] == str(run.folder)
    assert settings["study-file"] == str(run.study_file)
    assert settings["bundle"] == bundle_hash()
    assert [(last.number, last.why) for last in record.submissions] == [(1, "asked")]
    assert record.end is None


def test_a_run_that_goes_on_is_not_submitted_again(run, flower):
    run.agree(STUDY, ["anna"])
    threads = [threading.Thread(target=run.submit, args=(flower, "asked")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(flower.submitted) == 1
    assert run.submit(flower, "again")
    assert len(run.record().submissions) == 2


def test_an_earlier_failure_is_not_taken_for_the_next_starts(run, flower):
    run.agree(STUDY, ["anna"])
    run.submit(flower, "asked")
    (run.folder / "failure.json").write_text(json.dumps({"kind": "QuorumError", "message": "1 of 2"}))
    run.close(End(state="failed", kind="QuorumError"))
    assert run.failure()["kind"] == "QuorumError"
    assert run.submit(flower, "asked")
    assert run.record().end is None
    assert run.failure() == {}


def test_a_start_that_can_not_be_noted_is_taken_back(run, flower, monkeypatch):
    run.agree(STUDY, ["anna"])

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(run, "_save", full)
        with pytest.raises(OSError, match="No space"):
            run.submit(flower, "asked")
    assert flower.stopped == [1]
    assert run.record().submissions == ()


def test_what_flower_does_not_take_is_not_noted(run, flower):
    run.agree(STUDY, ["anna"])
    flower.reachable = False
    with pytest.raises(FlowerError):
        run.submit(flower, "asked")
    assert run.record().submissions == ()


def test_stop_ends_the_last_submission_and_tells_it(run, flower):
    run.agree(STUDY, ["anna"])
    with pytest.raises(ConfigError, match="is not begun"):
        run.stop(flower)
    run.submit(flower, "asked")
    run.submit(flower, "again")
    run.stop(flower)
    assert flower.stopped == [2]
    assert run.record().end.state == "stopped"
    last = json.loads(run.events.read_text().splitlines()[-1])
    assert (last["event"], last["state"], last["code"]) == ("run_ended", "stopped", 29)
    with pytest.raises(ConfigError, match="is stopped"):
        run.stop(flower)


def test_what_flower_has_failed_can_be_stopped_before_it_is_started_again(run, flower):
    run.agree(STUDY, ["anna"])
    run.submit(flower, "asked")
    flower.state = RunState("finished:failed", "", "")
    run.stop(flower)
    assert flower.stopped == []
    assert run.record().end.state == "stopped"
    assert not run.submit(flower, "again")  # by a daemon that has not seen it yet


def test_the_first_end_stands(run, flower):
    run.agree(STUDY, ["anna"])
    run.submit(flower, "asked")
    run.close(End(state="stopped"))
    run.close(End(state="completed"))
    assert run.record().end.state == "stopped"


def test_rounds_done_twice_count_once(run):
    for number in (1, 2, 2, 3):
        tell(run, "round_done", round=number)
    assert run.rounds_done() == 3


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_a_result_that_is_none_is_empty(run, text):
    run.folder.mkdir(parents=True)
    (run.folder / "run.json").write_text(text)
    assert run.result() == {}


def test_all_runs_by_name(run):
    assert Run.all(run.consortium) == []
    for name in ("b", "a"):
        Run(run.consortium, name).agree(STUDY, ["anna"])
    assert [found.name for found in Run.all(run.consortium)] == ["a", "b"]
