"""Sites that don't come, come late, or answer late: the server says for whom it waits and until when, and then acts."""

import datetime as dt
import re

import pytest
from faulty import ANSWER, Faulty
from federation import wait_until

from ra_core.errors import DegradedError, QuorumError

pytestmark = pytest.mark.night


@pytest.fixture(scope="module")
def federation(site_root, tmp_path_factory):
    """anna is online, and berta is not, until a test starts it; the tests of this file share them in their order."""
    with Faulty(tmp_path_factory.mktemp("waiting"), site_root) as federation:
        federation.up("anna")
        federation.admit("berta")
        yield federation


def test_a_site_that_never_comes_is_waited_for_until_the_deadline(federation):
    study = federation.study("never", join_seconds=10.0)
    said = federation.server("run", study, code=QuorumError.exit_code)
    assert re.search(r"waiting for anna, berta until \d\d:\d\d:\d\d UTC", said)
    assert re.search(r"of 2 sites joined, 2 are needed \(.*berta: not connected\)", said)
    assert "hint: mend the sites named" in said
    (waiting,) = federation.events("never", "waiting")
    ended = federation.events("never", "run_ended")[-1]
    assert waiting["for"] == ["anna", "berta"]
    assert dt.datetime.fromisoformat(waiting["until"]) < dt.datetime.fromisoformat(ended["time"])
    assert (ended["state"], ended["code"]) == ("failed", QuorumError.exit_code)
    assert federation.result("never")["rounds_done"] == 0
    assert "never" in federation.server("runs")
    assert federation.result("never")["state"] == "failed"


def test_a_site_alone_goes_on_where_the_quorum_lets_it_and_who_comes_late_is_let_in(federation):
    federation.study("alone", rounds=3, quorum=0.5, join_seconds=60.0)
    with federation.held("anna", ANSWER, after=1) as in_round_2:
        with federation.held("anna") as in_round_1:
            run = federation.command("run", "alone.yaml")
            in_round_1()
            federation.start_site("berta")
            federation.await_online("berta")
        in_round_2()  # berta has been asked to join before it, and may be slow to say who it is
        wait_until(lambda: "joining the run: answered" in federation.log("berta"), "berta joins")
    said = federation.finish(run, code=DegradedError.exit_code)
    for line in (
        "waiting for anna, berta until",
        "round 1: anna asked",
        "round 1 is done: 1 answered, missing: berta (not connected)",
        "berta has joined",
        "round 3: anna, berta asked",
        "round 3 is done: 2 answered, validation error",
        "berta has the model",
        "the run 'alone' is degraded: round",
    ):
        assert line in said
    result = federation.result("alone")
    assert result["rounds"][0]["missing"] == {"berta": "not connected"}
    assert [record["answered"] for record in result["rounds"][2:]] == [["anna", "berta"]] * 2
    assert (result["delivered"], result["undelivered"]) == (["anna", "berta"], {})


def test_a_site_that_answers_too_late_costs_one_round_and_is_in_the_next(federation):
    federation.study("slow", quorum=0.5, deadline_seconds=60.0)
    with federation.held("berta", ANSWER):
        run = federation.command("run", "slow.yaml")
        federation.await_event("round_done", "slow")
    said = federation.finish(run, code=DegradedError.exit_code)
    assert "round 1 is done: 1 answered, missing: berta (no answer before the deadline)" in said
    first, *later = federation.result("slow")["rounds"]
    assert (first["asked"], first["answered"]) == (["anna", "berta"], ["anna"])
    assert [record["answered"] for record in later] == [["anna", "berta"]] * 2
    assert federation.result("slow")["reasons"] == ["round 1: berta: no answer before the deadline"]
    assert "berta has the model" in said
    (started, *_), (done, *_) = (federation.events("slow", kind) for kind in ("round_started", "round_done"))
    assert dt.datetime.fromisoformat(started["until"]) <= dt.datetime.fromisoformat(done["time"])
