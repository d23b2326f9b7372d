"""The ServerApp with sites that answer well at once; what it writes, and what it says when it can't go on."""

import json

import pytest
from answering import answering_app, good_reply
from filelock import FileLock, Timeout
from flwr.app import Context, Error, RecordDict
from hospitals import model_digest as digest
from hospitals import tiny_federation

from ra_core.artifact import load_artifact
from ra_core.config import CalibrationConfig
from ra_core.daemons.events import read_events
from ra_core.errors import ConfigError, QuorumError, ResumeError
from ra_core.installed import package_hash
from server.app import app
from server.rounds.checkpoint import Checkpoints
from simulation.engines import InProcessGrid

pytestmark = pytest.mark.slow

NAMES = ("anna", "berta")


def run(folder, /, behaviour=None, study=None, delivery=None, joining=None, histograms=None, **changes):
    study = study or tiny_federation()
    (folder / "study.json").write_text(study.model_dump_json())
    settings = {"study-file": str(folder / "study.json"), "folder": str(folder), "sites": ",".join(NAMES)} | changes
    grid = InProcessGrid(answering_app(behaviour, joining, delivery, histograms), [{"name": name} for name in NAMES])
    app(grid=grid, context=Context(1, 1, {}, RecordDict(), settings))
    return Checkpoints(folder, study.digest()).load()


def failure(folder):
    return json.loads((folder / "failure.json").read_text())


def record(folder):
    return json.loads((folder / "run.json").read_text())


def events(folder, kind=None):
    told, _ = read_events(folder / "events.jsonl")
    return [event for event in told if kind in (None, event["event"])]


def test_a_run_leaves_its_checkpoint_and_no_failure(tmp_path):
    (tmp_path / "failure.json").write_text("stale")
    (tmp_path / ".checkpoint.safetensors.0123abcd").write_text("half written")
    done = run(tmp_path)
    assert [record.round for record in done.records] == [1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".app.lock",
        "checkpoint.previous.safetensors",
        "checkpoint.safetensors",
        "events.jsonl",
        "model",
        "run.json",
        "study.json",
    ]


def test_the_record_tells_what_was_asked_and_what_came_of_it(tmp_path):
    done = run(tmp_path, bundle="a" * 64, run="first")
    told = record(tmp_path)
    assert (told["run"], told["bundle"], told["sites"]) == ("first", "a" * 64, ["anna", "berta"])
    assert (told["state"], told["reasons"], told["code"]) == ("completed", [], 0)
    assert (told["rounds_asked"], told["rounds_done"], told["stopped_early"]) == (2, 2, "")
    assert told["criterion"] == "validation_error, lower is better"
    assert (told["best_round"], told["model_hash"]) == (2, digest(done.best))
    assert told["images"]["berta"] == {"train": 200, "val": 6, "used": 299, "declared": 300}
    assert (told["delivered"], told["undelivered"]) == (["anna", "berta"], {})
    assert told["package_hash"] == package_hash()
    assert told["software"]["torch"]
    for number, found in enumerate(told["rounds"], 1):
        assert (found["round"], found["closing"]) == (number, number == 3)
        assert found["asked"] == found["answered"] == ["anna", "berta"]
        assert set(found["metrics"]) | set(found["reasons"]) == {"anna", "berta"}


def test_events_tell_the_run_as_it_goes(tmp_path):
    done = run(tmp_path)
    kinds = [event["event"] for event in events(tmp_path)]
    exchange = ["round_started", "answered", "answered", "round_done"]
    assert kinds == ["run_started", "waiting", "joined", "joined", *exchange * 3, *["delivered"] * 2, "run_ended"]
    (started,) = events(tmp_path, "run_started")
    assert (started["rounds"], started["from_round"], started["sites"]) == (2, 0, ["anna", "berta"])
    second = events(tmp_path, "round_started")[1]
    assert (second["round"], second["closing"], second["asked"]) == (2, False, ["anna", "berta"])
    assert second["until"] > second["time"]
    answer = events(tmp_path, "answered")[0]
    assert answer["metrics"] == {"validation_error": 1.0}
    assert answer["seconds"] >= 0
    last = events(tmp_path, "round_done")[-1]
    assert (last["closing"], last["model_hash"], last["best_round"]) == (True, digest(done.model), 2)
    (ended,) = events(tmp_path, "run_ended")
    assert (ended["state"], ended["code"], ended["model_hash"]) == ("completed", 0, digest(done.best))


def test_a_metric_that_one_site_lacks_has_a_reason(tmp_path):
    def talkative(site, order):
        return good_reply(site, order, metrics={"validation_error": 1.0, "kl_real": 2.0})

    run(tmp_path, {"berta": talkative})
    assert record(tmp_path)["rounds"][0]["reasons"] == {"anna": "the site told no kl_real"}


def test_the_chosen_model_is_written_with_its_card(tmp_path):
    done = run(tmp_path)
    artifact = load_artifact(tmp_path / "model")
    assert artifact.card.model_hash == digest(done.best)
    assert (artifact.card.arm, artifact.card.rounds, artifact.card.selected) == ("federated", 2, 2)
    assert (artifact.card.sites, artifact.card.anatomy, artifact.card.modality) == (NAMES, "brain", "MR")
    assert [part.train_images for part in artifact.card.data] == [10, 200]
    assert [part.val_patients for part in artifact.card.data] == [2, 2]
    assert {metric["test_site"] for metric in artifact.card.metrics} == set(NAMES)


def test_where_layers_stay_at_the_sites_there_is_no_whole_model_here(tmp_path):
    run(tmp_path, study=tiny_federation(parts=["encoder"]))
    assert not (tmp_path / "model").exists()
    assert record(tmp_path)["delivered"] == ["anna", "berta"]


def asking(**calibration):
    return tiny_federation().model_copy(update={"calibration": CalibrationConfig(**calibration)})


def test_thresholds_over_all_sites_are_in_the_record_on_the_card_and_told(tmp_path):
    done = run(tmp_path, study=asking())
    assert record(tmp_path)["calibration"] == done.calibration.model_dump(mode="json")
    assert load_artifact(tmp_path / "model").card.calibration == done.calibration
    assert [event["asked"] for event in events(tmp_path, "calibrating")] == [["anna", "berta"]]
    assert events(tmp_path, "calibrated")[0]["achieved"].keys() == {"anna", "berta"}
    assert run(tmp_path, study=asking()).calibration == done.calibration
    assert len(events(tmp_path, "calibrating")) == 1


def test_a_site_that_is_missing_in_calibration_does_not_make_the_run_degraded(tmp_path):
    run(tmp_path, study=asking(), histograms={"berta": lambda s, o: Error(1000, "DataError at berta")})
    assert record(tmp_path)["state"] == "completed"
    assert record(tmp_path)["calibration"]["absent"] == {"berta": "reports DataError"}


def test_a_scoring_that_the_method_does_not_have_ends_the_run_before_it_begins(tmp_path):
    with pytest.raises(ConfigError, match=r"calibration\.scoring"):
        run(tmp_path, study=asking(scoring="distance"))
    assert not events(tmp_path, "run_started")


def test_a_site_missing_in_one_round_makes_the_run_degraded(tmp_path):
    def away(site, order):
        return Error(5, "Node Unavailable") if order.round == 2 else good_reply(site, order)

    run(tmp_path, {"berta": away}, study=tiny_federation(quorum=0.5))
    told = record(tmp_path)
    assert (told["state"], told["code"]) == ("degraded", 28)
    assert told["reasons"] == ["round 2: berta: its connection was lost (Node Unavailable)"]
    assert told["rounds"][1]["reasons"] == {"berta": "its connection was lost (Node Unavailable)"}
    assert events(tmp_path, "rejected")[0]["reason"] == "its connection was lost (Node Unavailable)"
    assert events(tmp_path, "run_ended")[0]["reasons"] == told["reasons"]


def test_a_site_that_gets_the_model_later_completes_the_run(tmp_path):
    run(tmp_path, delivery={"berta": lambda s, o: Error(1000, "OSError at berta")})
    assert record(tmp_path)["reasons"] == ["delivery: berta: reports OSError"]
    assert record(tmp_path)["state"] == "degraded"
    run(tmp_path)
    assert (record(tmp_path)["state"], record(tmp_path)["undelivered"]) == ("completed", {})
    assert len(events(tmp_path, "round_started")) == 3


def test_ending_early_is_completed_and_told(tmp_path):
    def judge(site, order):
        return good_reply(site, order, metrics={"validation_error": float(order.round)})

    run(tmp_path, dict.fromkeys(NAMES, judge), study=tiny_federation(rounds=9, patience=1))
    told = record(tmp_path)
    assert (told["state"], told["rounds_done"]) == ("completed", 4)
    assert told["stopped_early"] == "stopped early at round 4"
    assert told["best_round"] == 2  # the first one is warm-up


def test_a_study_in_which_nothing_could_be_selected_does_not_begin(tmp_path):
    with pytest.raises(ConfigError, match="all 2 steps are warm-up"):
        run(tmp_path, study=tiny_federation(rounds=1))
    assert not events(tmp_path, "run_started")


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
    assert (record(tmp_path)["state"], record(tmp_path)["code"]) == ("failed", 21)
    assert record(tmp_path)["reasons"] == [told["message"]]
    unfinished = record(tmp_path)["unfinished_round"]
    assert (unfinished["round"], unfinished["asked"], unfinished["answered"]) == (2, ["anna", "berta"], ["anna"])
    assert set(unfinished["missing"]) == {"berta"}
    assert events(tmp_path, "run_ended")[0]["state"] == "failed"
    assert [record.round for record in run(tmp_path).records] == [1, 2, 3]
    assert not (tmp_path / "failure.json").exists()
    assert record(tmp_path)["unfinished_round"] is None


def test_where_not_even_the_failure_can_be_written_the_failure_is_raised(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    for place in ("server.app.write_atomically", "server.rounds.account.write_atomically"):
        monkeypatch.setattr(place, full)
    with pytest.raises(OSError, match="No space"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"study-file": ""}, "study-file"),
        ({"study-file": "none.yaml"}, "no such file"),
        ({"sites": ""}, "sites"),
        ({"sites": "anna, berta"}, "' berta'"),
        ({"sites": "anna,anna"}, "twice"),
        ({"sites": "anna,ber/ta"}, "ber/ta"),
        ({"nodes": "anna:1000"}, "NUMBER:NAME"),
        ({"nodes": "1:anna,2:anna"}, "NUMBER:NAME"),
        ({"nodes": "1:zoe"}, "NUMBER:NAME"),
        ({"bundle": "a"}, "no SHA-256"),
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

    monkeypatch.setattr("server.rounds.checkpoint.save_tensors", full)
    with pytest.raises(OSError, match="no space"):
        run(tmp_path)
    assert failure(tmp_path) == {
        "kind": "OSError",
        "message": "no space left on device",
        "hint": "",
        "module": "builtins",
    }


def test_two_starts_of_a_run_never_work_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr("server.app.EARLIER_SECONDS", 0.1)
    with FileLock(tmp_path / ".app.lock"), pytest.raises(Timeout):
        run(tmp_path)
    assert not (tmp_path / "failure.json").exists()
