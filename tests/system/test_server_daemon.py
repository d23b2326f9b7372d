"""The server's daemon with real sites: whatever is killed comes back, and a run ends as it would have, unbroken."""

import json
import signal
import subprocess
import urllib.request

import psutil
import pytest
from federation import Federation, wait_until

from ra_core.address import split_address

STUDY = ("study.yaml", "--sites", "anna")


@pytest.fixture(scope="module")
def standing(site_root, tmp_path_factory):
    """A server with a site online and one that never comes; all tests of this file share it, each has a run."""
    with Federation(tmp_path_factory.mktemp("standing"), site_root) as federation:
        federation.study()
        federation.up("anna")
        federation.admit("berta")
        yield federation


@pytest.fixture(scope="module")
def whole(standing):
    """What an undisturbed run prints, and the hash of its model."""
    said = standing.server("run", *STUDY, "--name", "whole")
    return said, standing.result("whole")["model_hash"]


def start(standing, name, moment="round_started"):
    """Start a run, and wait for a moment of it."""
    process = standing.command("run", *STUDY, "--name", name)
    standing.await_event(moment, name)
    return process


def test_a_run_is_told_as_it_goes_and_the_site_has_its_model(standing, whole):
    said, model_hash = whole
    for line in (
        "started: 2 rounds with anna",
        "anna has joined: 29 of 29 images used",
        "round 1: anna asked",
        "round 2 is done: 1 answered",
        "the closing exchange is done: 1 answered",
        "anna has the model",
        "the run 'whole' is completed",
    ):
        assert line in said
    assert {event["model_hash"] for event in standing.events("whole", "delivered")} == {model_hash}
    assert "the run 'whole' is completed" in standing.server("run", *STUDY, "--name", "whole")
    assert len(standing.events("whole", "submitted")) == 1


def test_status_and_runs_tell_people_and_scripts(standing, whole):
    said = standing.server("status")
    for line in (
        "superlink: serves",
        "executor: serves",
        "site anna: admitted, online since",
        "berta: admitted, was never here",
        "whole",
        "completed",
    ):
        assert line in said
    told = json.loads(standing.server("status", "--json"))
    assert told["serving"] == {"superlink": True, "executor": True}
    assert [(site["name"], site["state"], site["online"]) for site in told["sites"]] == [
        ("anna", "admitted", True),
        ("berta", "admitted", False),
    ]
    assert told["certificates"] == []
    run = next(run for run in json.loads(standing.server("runs", "--json")) if run["name"] == "whole")
    assert (run["state"], run["rounds_done"], run["rounds_asked"]) == ("completed", 2, 2)
    assert run["model_hash"] == whole[1]


def test_figures_are_there_for_prometheus(standing, whole):
    url = f"http://127.0.0.1:{standing.consortium.config.metrics}/metrics"
    with urllib.request.urlopen(url) as answer:
        text = answer.read().decode()
    assert 'ra_site_online{site="anna"} 1.0' in text
    assert 'ra_process_up{process="superlink"} 1.0' in text
    assert 'ra_run_state{run="whole",state="completed"} 1.0' in text
    assert 'ra_certificate_days_left{certificate="server.crt"} 36' in text


def test_every_port_is_on_loopback(standing):
    config = standing.consortium.config
    ports = {config.metrics, config.health, config.health_executor, split_address(config.listen)[1]}
    listening = [c.laddr for c in psutil.net_connections() if c.status == "LISTEN" and c.laddr.port in ports]
    assert {address.port for address in listening} == ports
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_a_second_daemon_and_a_run_of_other_settings_are_refused(standing, whole):
    said = standing.server("start", code=10)
    assert f"a daemon runs already (process {standing.daemons['server'].pid})" in said
    assert "other sites" in standing.server("run", "study.yaml", "--name", "whole", code=17)
    assert "'nobody' is unknown" in standing.server("run", "study.yaml", "--sites", "anna,nobody", code=10)
    assert "there is no run 'none'" in standing.server("stop", "none", code=10)


def test_the_superlink_is_killed_in_a_round_and_nothing_is_lost(standing, whole):
    process = start(standing, "cut")
    before = standing.pids("superlink")
    standing.process("superlink").kill()
    said = standing.finish(process)
    assert len(standing.pids("superlink")) == len(before) + 1
    assert standing.result("cut")["model_hash"] == whole[1]
    assert "submitted as" in said
    assert len(standing.events("cut", "submitted")) == 1


@pytest.mark.night
def test_the_executor_is_killed_in_a_round_and_the_run_goes_on_from_its_checkpoint(standing, whole):
    process = standing.command("run", *STUDY, "--name", "headless")
    standing.await_event("round_started", "headless", 2)
    standing.process("executor").kill()
    said = standing.finish(process)
    assert "Flower had failed: submitted" in said
    assert [event["from_round"] for event in standing.events("headless", "run_started")] == [0, 1]
    assert standing.result("headless")["model_hash"] == whole[1]


@pytest.mark.night
def test_an_executor_that_hangs_is_restarted_and_takes_the_run_that_waits(standing, whole):
    hung = standing.process("executor")
    hung.suspend()
    assert "the run 'patient' is completed" in standing.server("run", *STUDY, "--name", "patient")
    assert not hung.is_running() or hung.status() == psutil.STATUS_ZOMBIE
    assert standing.result("patient")["model_hash"] == whole[1]


@pytest.mark.night
def test_a_run_is_stopped_and_resumed(standing, whole):
    process = start(standing, "halted")
    assert "`ra-server resume 'halted'`" in standing.server("stop", "halted")
    assert "was stopped" in standing.finish(process, code=29)
    wait_until(lambda: not standing.apps(), "the server's app ends")
    assert "stopped" in standing.server("runs")
    assert "is stopped" in standing.server("stop", "halted", code=10)
    assert "is completed" in standing.server("resume", "halted")
    assert standing.result("halted")["model_hash"] == whole[1]


@pytest.mark.night
def test_a_run_outlives_whoever_follows_it_and_the_daemon(standing, whole):
    process = standing.command("run", *STUDY, "--name", "orphan")
    standing.await_event("round_started", "orphan", 2)
    process.send_signal(signal.SIGINT)
    assert "goes on" in standing.finish(process, code=130)
    standing.kill("server")
    assert "does not run" in standing.server("status")
    assert "doesn't run" in standing.server("run", *STUDY, "--name", "orphan", code=25)
    left = standing.processes()
    assert left
    standing.start_server()
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in left)
    assert "is completed" in standing.server("run", *STUDY, "--name", "orphan")
    assert standing.result("orphan")["model_hash"] == whole[1]


def test_a_site_that_is_not_admitted_is_not_waited_for(standing):
    settings = standing.consortium.config.model_dump(mode="json")
    standing.save(settings | {"sites": ["anna", "berta", "carla"]})
    assert "the site 'carla' is not provisioned" in standing.server("run", "study.yaml", "--name", "more", code=22)
    standing.save(settings)


def test_a_request_to_end_ends_everything(standing, whole):
    assert standing.kill("server", signal.SIGTERM) == 0
    assert standing.processes() == []
    assert not standing.consortium.daemon.exists()
    assert standing.told()[-1]["event"] == "daemon_stopped"


def test_a_port_of_others_is_named(standing):
    port = standing.consortium.config.health
    listener = subprocess.Popen(  # noqa: S603 - our own command
        ["python3", "-m", "http.server", str(port), "--bind", "127.0.0.1"],  # noqa: S607
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: any(c.laddr and c.laddr.port == port for c in psutil.net_connections()), "it listens")
        assert f"health: 127.0.0.1:{port} can't be listened on" in standing.server("start", code=10)
    finally:
        listener.kill()
        listener.wait()
