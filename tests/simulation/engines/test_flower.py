"""The parts of the Flower engine that need no process; whole runs are in tests/system/test_engines.py."""

import json
import os
import tomllib
from pathlib import Path

import pytest

from ra_core.config import RuntimeConfig, StudyConfig
from ra_core.daemons.processes import executable, free_ports
from ra_core.errors import ConfigError, QuorumError, RAError
from server.flower import CONNECTION
from simulation.engines import flower, processes


def test_without_ray_the_way_to_get_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="ray") as caught:
        flower.run_flower(StudyConfig(), [], RuntimeConfig(), tmp_path, lambda *_: None)
    assert "federated-ra[simulation]" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_flowers_settings_are_all_in_one_fresh_folder(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "stale").touch()
    home = flower._write_home(tmp_path / "home", 1234)
    files = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    assert files == ["app/LICENSE", "app/pyproject.toml", "config.toml"]
    connection = tomllib.loads((home / "config.toml").read_text())["superlink"][CONNECTION]
    assert connection == {"address": "127.0.0.1:1234", "insecure": True}


def test_no_cluster_of_others_and_nothing_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://elsewhere")
    env = flower._environment(tmp_path, tmp_path / "nodes.json", tmp_path)
    assert "RAY_ADDRESS" not in env
    assert env["FLWR_TELEMETRY_ENABLED"] == env["RAY_USAGE_STATS_ENABLED"] == "0"
    assert env["PATH"].split(os.pathsep)[0] == str(Path(executable("flwr")).parent)


def test_the_servers_failure_comes_back_as_it_was(tmp_path):
    path = tmp_path / "failure.json"
    flower._raise_failure(path)
    path.write_text(json.dumps({"kind": "QuorumError", "message": "round 1", "hint": "mend"}))
    with pytest.raises(QuorumError, match="round 1") as caught:
        flower._raise_failure(path)
    assert caught.value.hint == "mend"
    path.write_text(json.dumps({"kind": "OSError", "message": "disk full", "hint": ""}))
    with pytest.raises(RAError, match="OSError in the server: disk full"):
        flower._raise_failure(path)


def test_a_port_that_nobody_listens_on_is_not_healthy():
    assert not processes._healthy(free_ports(1)[0])
