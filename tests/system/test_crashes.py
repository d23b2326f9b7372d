"""Whatever is killed at whatever moment, the run that goes on ends with the bits of one that nothing disturbed."""

import pytest
from faulty import Faulty, simulated
from federation import SERVER, wait_until
from hospitals import tiny_federation

from ra_core.daemons.processes import end_all
from ra_core.errors import StoppedError

pytestmark = pytest.mark.night

NAMES = ("anna", "berta")
SETTINGS = {"parts": ["encoder"], "keep_optimizer": True}
"""Sites keep a decoder and an optimizer to themselves, which has to be that of the right round."""


@pytest.fixture(scope="module")
def federation(site_root, tmp_path_factory):
    """Two sites online; all tests of this file share them, each has a run."""
    with Faulty(tmp_path_factory.mktemp("crashes"), site_root, NAMES) as federation:
        federation.study(**SETTINGS)
        federation.up()
        yield federation


@pytest.fixture(scope="module")
def whole(site_root, tmp_path_factory):
    """Hashes of the best and of the last model if nothing is disturbed."""
    return simulated(tiny_federation(**SETTINGS), site_root, tmp_path_factory.mktemp("whole"), NAMES)


def killed(federation, fault):
    """Wait until a fault has killed the server's app."""
    wait_until(lambda: not fault.exists(), f"the app is killed: {fault.stem}")
    wait_until(lambda: not federation.apps(), "the app has ended")


def went_on(federation, name):
    """After which rounds the app has started."""
    return [event["from_round"] for event in federation.events(name, "run_started")]


def test_the_app_is_killed_in_aggregation_and_over_a_half_written_checkpoint(federation, whole):
    in_round_1 = federation.fault("server", "server.rounds.strategy:step")
    in_round_2 = federation.fault("server", "pathlib:Path.replace", after=1, about=".checkpoint.safetensors.")
    process = federation.command("run", "study.yaml", "--name", "app")
    for fault in (in_round_1, in_round_2):
        killed(federation, fault)
        federation.server("stop", "app")
        federation.finish(process, StoppedError.exit_code)
        process = federation.command("resume", "app")
    federation.finish(process)
    assert 1 in went_on(federation, "app")
    assert not list(federation.run("app").glob(".checkpoint*"))
    assert federation.hashes("app") == whole


def test_the_app_is_killed_while_sites_train_and_comes_back_by_itself(federation, whole):
    with federation.held("berta", after=1) as berta_is_in_round_2:
        process = federation.command("run", "study.yaml", "--name", "training")
        berta_is_in_round_2()
        for app in federation.apps():
            app.kill()
    assert "Flower had failed: submitted" in federation.finish(process)
    assert 1 in went_on(federation, "training")
    assert federation.hashes("training") == whole


def test_everything_at_the_server_is_killed_between_two_checkpoints(federation, whole):
    fault = federation.fault("server", "server.rounds.checkpoint:save_tensors", after=1)
    process = federation.command("run", "study.yaml", "--name", "between")
    killed(federation, fault)
    assert not (federation.run("between") / "checkpoint.safetensors").exists()  # the last one is put aside already
    federation.kill("server")
    end_all(SERVER, str(federation.consortium.folder), grace=0)
    federation.start_server()
    federation.finish(process)
    assert 1 in went_on(federation, "between")
    assert federation.hashes("between") == whole


def test_a_site_is_killed_between_two_rounds(federation, whole):
    with federation.held("anna") as anna_is_in_round_1:
        process = federation.command("run", "study.yaml", "--name", "site")
        anna_is_in_round_1()
        assert federation.await_event("answered", "site")["site"] == "berta"
        federation.kill_site("berta")
        federation.bring_back("berta")
    federation.finish(process)
    assert federation.hashes("site") == whole
    assert federation.result("site")["delivered"] == list(NAMES)
