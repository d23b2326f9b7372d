import datetime as dt

import pytest

from server.flower import RunState
from server.operation.run_record import End, RunRecord, Submission
from server.operation.verdict import TRIES, delivery_due, end_of, given_up, pause
from server.provisioning.registry import timestamp

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
COMPLETED, FAILED, STOPPED = (RunState(f"finished:{name}", "", "") for name in ("completed", "failed", "stopped"))
QUORUM = {"kind": "QuorumError", "message": "round 1: 1 of 2", "hint": "mend"}


def record(*whys, ago=0.0, end=None):
    when = timestamp(NOW - dt.timedelta(seconds=ago))
    submissions = tuple(Submission(number=i, when=when, why=why, rounds_done=0) for i, why in enumerate(whys))
    return RunRecord(study_digest="d", sites=("anna", "berta"), submissions=submissions, end=end)


@pytest.mark.parametrize("state", [COMPLETED, FAILED])
def test_a_run_is_completed_by_its_own_record_alone(state):
    assert end_of(state, {"state": "completed"}, {}).state == "completed"
    assert end_of(state, {}, {}) is None
    assert end_of(state, {"state": "running"}, {}) is None
    assert end_of(state, {"state": ["completed"]}, {}) is None


def test_a_degraded_run_says_who_was_missing():
    end = end_of(COMPLETED, {"state": "degraded", "reasons": ["round 2: berta: late"]}, {})
    assert (end.state, end.reasons, end.kind) == ("degraded", ("round 2: berta: late",), "DegradedError")


def test_a_failure_is_the_apps_own_whatever_an_earlier_record_says():
    end = end_of(FAILED, {"state": "completed"}, QUORUM)
    assert (end.state, end.reasons, end.kind, end.hint) == ("failed", ("round 1: 1 of 2",), "QuorumError", "mend")


def test_an_error_of_flowers_network_is_no_failure_of_the_app():
    lost = {"kind": "ConnectError", "module": "httpx", "message": "all attempts failed"}
    assert end_of(FAILED, {"state": "failed"}, lost) is None
    ours = {"kind": "ConnectError", "module": "ra_core.errors", "message": "not reached"}
    assert end_of(FAILED, {"state": "failed"}, ours).kind == "ConnectError"


def test_a_stopped_run_is_stopped_by_the_operator():
    assert end_of(STOPPED, {}, {}).state == "stopped"


def test_flowers_failures_are_counted_from_the_last_round_on():
    tries = ["again"] * TRIES
    assert given_up(record("asked"), 0, FAILED) is None
    assert given_up(record("asked", *tries[1:]), 0, FAILED) is None
    end = given_up(record("asked", *tries), 0, RunState("finished:failed", "no heartbeat", ""))
    assert (end.state, end.kind) == ("failed", "FlowerError")
    assert "no heartbeat" in end.reasons[0]
    assert given_up(record("asked", *tries), 1, FAILED) is None
    assert given_up(record("asked", *tries, "asked"), 0, FAILED) is None


def test_pauses_grow_and_are_short_again_after_a_round():
    pauses = [pause(record("asked", *["again"] * count), 0) for count in range(12)]
    assert pauses[:3] == [5, 10, 20]
    assert max(pauses) == pauses[-1] == 300
    assert pause(record("asked", *["again"] * 4), 3) == 5


def test_the_model_is_offered_when_a_site_that_lacks_it_is_there():
    ended = record("asked", ago=3600, end=End(state="degraded"))
    early, late = (timestamp(NOW - dt.timedelta(seconds=seconds)) for seconds in (7200, 60))
    assert delivery_due(ended, ["anna"], {"anna": early, "berta": late}, NOW)
    assert not delivery_due(ended, ["anna"], {"berta": late}, NOW)
    assert not delivery_due(ended, [], {"anna": late}, NOW)


@pytest.mark.parametrize("end", [None, End(state="failed"), End(state="stopped")])
def test_a_run_without_a_chosen_model_delivers_none(end):
    since = {"anna": timestamp(NOW)}
    assert not delivery_due(record("asked", ago=10**6, end=end), ["anna"], since, NOW)


def test_a_site_that_takes_no_model_is_asked_less_and_less_until_it_comes_anew():
    there = {"anna": timestamp(NOW - dt.timedelta(days=9))}
    tried = ["asked", *["delivery"] * 4]
    assert not delivery_due(record(*tried, ago=4000, end=End(state="completed")), ["anna"], there, NOW)
    assert delivery_due(record(*tried, ago=5000, end=End(state="completed")), ["anna"], there, NOW)
    anew = {"anna": timestamp(NOW - dt.timedelta(seconds=10))}
    assert delivery_due(record(*tried, ago=400, end=End(state="completed")), ["anna"], anew, NOW)
    assert not delivery_due(record(*tried, ago=200, end=End(state="completed")), ["anna"], anew, NOW)
