"""A site whose line is cut in mid-round: for a while, the round survives; for longer, it goes on without, then with."""

import time

import pytest
from faulty import ANSWER, Faulty
from federation import wait_until
from wire import Wire

from ra_core.errors import DegradedError

pytestmark = pytest.mark.night

SHORT, LONG = 20.0, 150.0
"""Seconds for which the line is cut. Flower forgets a silent node after 60."""

STUDY = {"rounds": 4, "quorum": 0.5}


@pytest.fixture(scope="module")
def federation(site_root, tmp_path_factory):
    """Two sites online, of which berta has a line that can be cut."""
    with Faulty(tmp_path_factory.mktemp("network"), site_root) as federation:
        federation.provision()
        with Wire(federation.consortium.config.address) as federation.wire:
            federation.change_server("berta", address=federation.wire.address)
            federation.start_server()
            federation.join(*federation.names)
            yield federation


@pytest.fixture(scope="module")
def done(federation):
    """A run whose first round sees a short cut and whose second a long one, which ends in the third.

    What was printed, and what `run.json` says.
    """
    wire = federation.wire
    federation.study("cut", **STUDY)
    with federation.held("berta", ANSWER) as in_round_1:
        run = federation.command("run", "cut.yaml")
        in_round_1()
        wire.cut()
    federation.await_event("answered", "cut")
    time.sleep(SHORT)  # within, berta has its answer ready
    with federation.held("anna", ANSWER, after=1) as in_round_3:
        with federation.held("berta", ANSWER) as in_round_2:
            wire.mend()
            in_round_2()
            wire.cut()
        mended = time.monotonic() + LONG
        in_round_3()
        time.sleep(max(0.0, mended - time.monotonic()))
        wire.mend(forget=True)
        wait_until(lambda: "berta" in federation.online() or federation.ended("berta"), "berta is seen again")
    return federation.finish(run, code=DegradedError.exit_code), federation.result("cut")


def test_a_round_survives_a_short_cut(federation, done):
    first = done[1]["rounds"][0]
    assert first["answered"] == ["anna", "berta"]
    assert first["missing"] == {}


def test_a_long_cut_closes_the_round_without_the_site(federation, done):
    said, result = done
    second, third = result["rounds"][1:3]
    assert (second["asked"], second["answered"]) == (["anna", "berta"], ["anna"])
    assert second["missing"] == {"berta": "its connection was lost (Node Unavailable)"}
    assert third["asked"] == ["anna"]
    assert third["missing"] == {"berta": "not connected"}
    why = "round 2: berta: its connection was lost (Node Unavailable); round 3: berta: not connected"
    assert f"the run 'cut' is degraded: {why}\n" in said


def test_the_site_is_in_the_next_round_unaided(federation, done):
    *_, fourth, closing = done[1]["rounds"]
    assert fourth["answered"] == closing["answered"] == ["anna", "berta"]
    assert done[1]["delivered"] == ["anna", "berta"]


def test_the_site_tells_of_the_outage_and_of_its_end(federation, done):
    log = federation.log("berta")
    assert "the server can't be reached: " in log
    assert "the server is back after " in log
    assert log.count("connected to the server") == 1  # it was the same process all the time
