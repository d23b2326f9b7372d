import datetime as dt

import pytest
from consortia import FakeFlower, admit, tell, write_consortium

from ra_core.config import StudyConfig
from ra_core.daemons.events import Events, read_events
from ra_core.errors import FlowerError, ResumeError
from server.flower import RunState
from server.operation import keeper as module
from server.operation.keeper import Keeper
from server.operation.run_record import STOPPED
from server.operation.runs import Run
from server.provisioning.registry import timestamp

FAILED = RunState("finished:failed", "No heartbeat", "")


@pytest.fixture
def consortium(tmp_path):
    consortium = write_consortium(tmp_path)
    admit(consortium, anna=1, berta=2)
    return consortium


@pytest.fixture
def flower():
    return FakeFlower()


@pytest.fixture
def keeper(consortium, flower, monkeypatch):
    """One that asks Flower at every look, and waits for nothing."""
    for name in ("STATUS_SECONDS", "NODES_SECONDS"):
        monkeypatch.setattr(module, name, 0.0)
    monkeypatch.setattr(module, "pause", lambda *_: 0.0)
    return Keeper(consortium, flower, Events(consortium.events))


@pytest.fixture
def run(consortium, flower):
    run = Run(consortium, "study")
    run.agree(StudyConfig(), ["anna", "berta"])
    run.submit(flower, "asked")
    return run


def told(keeper, kind):
    return [event for event in read_events(keeper.consortium.events)[0] if event["event"] == kind]


def write(run, name, text):
    (run.folder / name).write_text(text)


def test_who_comes_and_goes_is_told_once(keeper, flower):
    assert keeper.figures.online == {}
    flower.online = {1: "2026-01-02 03:04:05Z", 77: "2026-01-02 03:04:05Z"}
    keeper.look()
    keeper.look()
    assert keeper.figures.online == {"anna": True, "berta": False}
    flower.online = {2: "2026-01-02 03:04:05Z"}
    keeper.look()
    assert keeper.figures.online == {"anna": False, "berta": True}
    assert [event["site"] for event in told(keeper, "site_online")] == ["anna", "berta"]
    assert [event["site"] for event in told(keeper, "site_offline")] == ["anna"]


@pytest.mark.parametrize("state", ["pending", "starting", "running"])
def test_a_run_that_goes_on_is_left_alone(keeper, flower, run, state):
    flower.state = RunState(state, "", "")
    keeper.look()
    assert run.record().end is None
    assert len(flower.submitted) == 1
    assert not keeper.executor_stuck.is_set()


def test_a_run_that_flower_failed_goes_on_from_its_checkpoint(keeper, flower, run):
    flower.state = FAILED
    keeper.look()
    keeper.look()
    assert [last.why for last in run.record().submissions] == ["asked", "again", "again"]
    assert "No heartbeat" in told(keeper, "resubmitted")[0]["why"]
    assert {settings["folder"] for _, settings in flower.submitted} == {str(run.folder)}


@pytest.mark.parametrize("status", ["finished:stopped", "finished:failed"])
def test_an_answer_about_an_earlier_start_does_not_touch_a_later_one(keeper, flower, run, monkeypatch, status):
    """Asking Flower takes seconds, in which the operator has stopped the run and gone on with it."""

    def slowly(number):
        if len(flower.submitted) == 1:
            run.close(STOPPED)
            run.submit(flower, "asked")
        return RunState(status, "", "") if number == 1 else RunState("running", "", "")

    monkeypatch.setattr(flower, "status", slowly)
    keeper.look()
    keeper.look()
    record = run.record()
    assert record.end is None
    assert [last.why for last in record.submissions] == ["asked", "asked"]
    assert told(keeper, "run_ended") == told(keeper, "resubmitted") == []


def test_a_run_that_the_database_lost_goes_on_too(keeper, flower, run):
    flower.lost = {1}
    keeper.look()
    assert [last.why for last in run.record().submissions] == ["asked", "again"]


def test_after_too_many_failures_it_ends(keeper, flower, run):
    flower.state = FAILED
    for _ in range(10):
        keeper.look()
    assert run.record().end.kind == "FlowerError"
    assert len(flower.submitted) == 6
    ended = [event for event in read_events(run.events)[0] if event["event"] == "run_ended"]
    assert [(event["state"], event["code"]) for event in ended] == [("failed", 27)]


def test_a_failure_of_the_app_is_final(keeper, flower, run):
    flower.state = FAILED
    write(run, "failure.json", '{"kind": "QuorumError", "message": "1 of 2", "hint": "mend"}')
    keeper.look()
    assert run.record().end.kind == "QuorumError"
    assert len(flower.submitted) == 1


def test_completed_to_flower_is_not_completed(keeper, flower, run):
    flower.state = RunState("finished:completed", "", "")
    write(run, "run.json", '{"state": "degraded", "reasons": ["round 1: berta: not connected"]}')
    keeper.look()
    assert run.record().end.state == "degraded"
    assert told(keeper, "run_ended")[0]["reasons"] == ["round 1: berta: not connected"]


def test_the_end_is_looked_for_when_the_app_tells_it(keeper, flower, run, monkeypatch):
    keeper.look()
    monkeypatch.setattr(module, "STATUS_SECONDS", 1000.0)
    flower.state = RunState("finished:completed", "", "")
    write(run, "run.json", '{"state": "completed"}')
    keeper.look()
    assert run.record().end is None
    tell(run, "run_started", rounds=1, sites=["anna"])
    tell(run, "run_ended", state="completed")
    keeper.look()
    assert run.record().end.state == "completed"


def test_a_stuck_executor_is_restarted_once_a_while(keeper, flower, run, monkeypatch):
    flower.state = RunState("pending", "", "")
    monkeypatch.setattr(module, "PENDING_SECONDS", 0.0)
    keeper.look()
    assert keeper.executor_stuck.is_set()
    keeper.executor_stuck.clear()
    monkeypatch.setattr(module, "PENDING_SECONDS", 60.0)
    keeper.look()
    assert not keeper.executor_stuck.is_set()
    assert len(told(keeper, "pending")) == 1


def test_a_busy_executor_is_not_stuck(keeper, flower, run, monkeypatch):
    other = Run(run.consortium, "another")
    other.agree(StudyConfig(), ["anna"])
    tell(other, "run_started", rounds=3, sites=["anna"])
    tell(other, "round_started", round=1, asked=["anna"])
    flower.state = RunState("pending", "", "")
    monkeypatch.setattr(module, "PENDING_SECONDS", 10.0)
    keeper.look()
    monkeypatch.setattr(module, "PENDING_SECONDS", 0.0)
    keeper.look()
    assert not keeper.executor_stuck.is_set()


def test_a_model_from_which_a_site_withdrew_is_delivered_no_more(keeper, flower, run, monkeypatch):
    flower.state = RunState("finished:completed", "", "")
    write(run, "run.json", '{"state": "degraded", "reasons": [], "undelivered": ["berta"]}')
    keeper.look()
    run.withdraw("anna", "2026-01-02T03:04:05Z")
    monkeypatch.setattr("server.operation.verdict.DELIVERY_SHORTEST", -2.0)
    flower.online = {2: timestamp(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).replace("T", " ")}
    keeper.look()
    assert [last.why for last in run.record().submissions] == ["asked"]


def test_a_site_that_was_absent_gets_the_model_when_it_comes(keeper, flower, run, monkeypatch):
    flower.state = RunState("finished:completed", "", "")
    write(run, "run.json", '{"state": "degraded", "reasons": [], "undelivered": ["berta"]}')
    keeper.look()
    keeper.look()
    assert len(flower.submitted) == 1
    monkeypatch.setattr("server.operation.verdict.DELIVERY_SHORTEST", -2.0)
    flower.online = {2: timestamp(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).replace("T", " ")}
    keeper.look()
    assert [last.why for last in run.record().submissions] == ["asked", "delivery"]
    write(run, "run.json", '{"state": "degraded", "reasons": [], "undelivered": []}')
    keeper.look()
    assert run.record().end.state == "degraded"
    keeper.look()
    assert len(flower.submitted) == 2


def test_while_the_superlink_is_away_nothing_is_decided(keeper, flower, run):
    flower.reachable = False
    with pytest.raises(FlowerError):
        keeper.look()
    assert run.record().end is None
    flower.reachable, flower.online = True, {1: "2026-01-02 03:04:05Z"}
    keeper.look()
    assert len(run.record().submissions) == 1


def check_for_ever(keeper):
    while True:
        keeper.check()


def test_a_damaged_run_does_not_keep_others_from_going_on(keeper, flower, run):
    damaged = Run(run.consortium, "a")
    damaged.agree(StudyConfig(), ["anna"])
    (damaged.folder / "flower.json").write_text("{")
    flower.state = FAILED
    with pytest.raises(ResumeError, match=r"a/flower\.json"):
        keeper.look()
    assert [last.why for last in run.record().submissions] == ["asked", "again"]


def test_the_thread_tells_a_trouble_once_and_hands_a_fault_on(keeper, flower, monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    flower.reachable = False
    with keeper.looking():
        while not told(keeper, "trouble"):
            keeper.check()
        monkeypatch.setattr(flower, "nodes", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            check_for_ever(keeper)
    assert len(told(keeper, "trouble")) == 1


def test_a_full_disk_ends_no_thread_and_is_told_once_there_is_room(keeper, flower, monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    flower.reachable, tell, tries = False, keeper.events.tell, []

    def full(*arguments, **fields):
        tries.append(1)
        if len(tries) < 3:
            raise OSError(28, "No space left on device")
        tell(*arguments, **fields)

    monkeypatch.setattr(keeper.events, "tell", full)
    with keeper.looking():
        while not told(keeper, "trouble"):
            keeper.check()
    assert len(tries) >= 3
