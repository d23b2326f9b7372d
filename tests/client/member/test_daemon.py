"""The daemon, without a server; `tests/system/test_client_daemon.py` has it with one."""

import json
import shutil
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from stations import write_station

from client.member import daemon
from client.member.daemon import run_daemon
from client.member.station import MARKER, open_station
from ra_core.daemons.events import Events, read_events
from ra_core.errors import BundleError, CheckError, ConfigError, ResumeError, VersionError


@pytest.fixture
def station(tmp_path, site_root):
    """Of a site with images."""
    path = write_station(tmp_path).file
    settings = yaml.safe_load(path.read_text()) | {"data": {"site": "discs", "root": str(site_root)}}
    path.write_text(yaml.safe_dump(settings))
    return open_station(path)


@pytest.fixture
def started(monkeypatch):
    """What the supervisor is given; it runs nothing, and takes one look. Images are checked in this process."""
    seen = []

    class Supervisor:
        def __init__(self, programs, events, env, marker):
            seen.append((programs[0], env, marker))

        def run(self, stop, tick):
            tick()

    monkeypatch.setattr(daemon, "Supervisor", Supervisor)
    monkeypatch.setattr(daemon, "ProcessPoolExecutor", lambda count, _: ThreadPoolExecutor(count))
    return seen


def run(station, tmp_path, data=None):
    said = []
    run_daemon(station.file, data, tmp_path / "cache", said.append)
    return said


def test_a_supernode_is_kept_up_with_the_sites_settings(station, tmp_path, started):
    said = run(station, tmp_path)
    ((program, env, marker),) = started
    command = list(program.command)
    assert command[:5] == [sys.executable, "-P", "-m", "client.member.supernode", str(station.file)]
    options = dict(zip(command[5::2], command[6::2], strict=True))
    assert options["--superlink"] == station.server.address
    assert options["--auth-supernode-private-key"] == str(station.private_key)
    assert options["--root-certificates"] == str(station.ca_certificate)
    settings = tomllib.loads(Path(options["--node-config"]).read_text())
    assert settings == {
        "site-config": str(station.file),
        "state-folder": str(station.state),
        "cache": str(tmp_path / "cache" / "images"),
    }
    assert env[marker] == str(station.state)
    assert env["FLWR_TELEMETRY_ENABLED"] == "0"
    assert (marker, env["FLWR_HOME"]) == (MARKER, str(station.flower))
    assert said[0].startswith("site 'discs', key SHA256:")
    assert "stopped" in said[-1]
    assert not station.daemon.exists()
    assert [event["event"] for event in read_events(station.events)[0]] == ["daemon_started", "daemon_stopped"]


def test_paths_with_quotes_reach_the_node(station, tmp_path, started, site_root):
    odd = tmp_path / "a \"b\" 'c' é=1.toml"
    odd.symlink_to(site_root)
    run(station, tmp_path, odd)
    command = list(started[0][0].command)
    settings = tomllib.loads(Path(command[command.index("--node-config") + 1]).read_text())
    assert settings["data-root"] == str(odd)


def test_an_error_of_the_check_forbids_joining(station, tmp_path, started, site_root):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "manifest.csv").write_text(
        "".join((site_root / "manifest.csv").read_text().splitlines(keepends=True)[:5])
    )
    for picture in site_root.glob("train_*"):
        shutil.copy(picture, tmp_path / "images")
    with pytest.raises(CheckError, match="may not join: too_few"):
        run(station, tmp_path, tmp_path / "images")
    assert started == []
    assert not station.events.exists()


def test_one_daemon_a_state_folder(station, tmp_path, started):
    station.state.mkdir()
    with FileLock(station.lock, timeout=0), pytest.raises(ResumeError, match="a daemon runs already"):
        run(station, tmp_path)
    assert started == []


def test_what_joining_needs_is_looked_at_before_the_images(station, tmp_path, started, monkeypatch):
    monkeypatch.setattr(daemon, "_check_images", lambda *_: pytest.fail("the images were read"))
    monkeypatch.setattr(daemon, "refuse_foreign", lambda: (_ for _ in ()).throw(VersionError("foreign", "")))
    with pytest.raises(VersionError):
        run(station, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(daemon, "_check_images", lambda *_: pytest.fail("the images were read"))
    station.state.mkdir()
    station.allowed.write_text("x")
    with pytest.raises(BundleError):
        run(station, tmp_path)
    station.ca_certificate.write_text("x")
    with pytest.raises(ConfigError, match="ca_certificate"):
        run(station, tmp_path)
    station.private_key.unlink()
    with pytest.raises(ConfigError, match="private_key"):
        run(station, tmp_path)


def test_what_hinders_is_said_once_and_what_was_before_not_at_all(station):
    events, said = Events(station.events), []
    events.tell("connected", node="1")
    follow = daemon._Follower(station, said.append)
    follow()
    assert said == []
    for _ in range(3):
        events.tell("waiting", kind="X", why="nobody answers", hint="")
        events.tell("exited", process="supernode", code=25, why="", restart_in=5.0)
        follow()
    events.tell("connected", node="1")
    events.tell("exited", process="supernode", code=-9, why="", restart_in=5.0)
    events.tell("waiting", kind="X", why="nobody answers", hint="")
    follow()
    assert [text.split(" ", 1)[1][:13] for text in said] == [
        "not connected",
        "connected to ",
        "the connectio",
        "not connected",
    ]


def test_a_long_log_is_put_aside(station, tmp_path, started, monkeypatch):
    monkeypatch.setattr(daemon, "LOG_BYTES", 3)
    station.flower.mkdir(parents=True)
    log = station.flower / "supernode.log"
    for path in (log, station.events):
        path.write_text("long")
    run(station, tmp_path)
    assert not log.exists()
    assert (station.flower / "supernode.log.1").read_text() == "long"
    assert (station.state / "daemon.jsonl.1").read_text() == "long"


def test_who_the_daemon_is_stands_in_the_state_folder_while_it_runs(station, tmp_path, started, monkeypatch):
    found = []

    class Supervisor:
        def __init__(self, *_):
            pass

        def run(self, *_):
            found.append(json.loads(station.daemon.read_text()))

    monkeypatch.setattr(daemon, "Supervisor", Supervisor)
    run(station, tmp_path)
    assert set(found[0]) == {"pid", "health", "started"}
