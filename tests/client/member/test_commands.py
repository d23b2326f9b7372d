"""The commands' own part: a systemd unit."""

import shutil
import subprocess

import pytest
from stations import write_station
from typer.testing import CliRunner

from client.cli import app
from ra_core.errors import ConfigError


def unit(path, *more):
    result = CliRunner().invoke(app, ["unit", str(path), *map(str, more)])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_unit_starts_the_daemon_of_this_config(tmp_path):
    path = write_station(tmp_path).file
    text = unit(path, "--user", "ra", "--data", tmp_path / "images", "--cache", tmp_path / "cache")
    (command,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert f'ra-client" "start" "{path}" "--data" "{tmp_path}/images" "--cache" "{tmp_path}/cache"' in command
    assert "User=ra\n" in text
    assert "Restart=always\n" in text


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_takes_it(tmp_path):
    there = tmp_path / "ra-client.service"
    there.write_text(unit(write_station(tmp_path).file))
    done = subprocess.run(  # noqa: S603 - a command of the system
        [shutil.which("systemd-analyze"), "verify", str(there)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "ra-client" not in done.stderr


def test_a_config_that_can_not_join_gets_none(tmp_path):
    (tmp_path / "site.yaml").write_text("name: x\n")
    assert isinstance(CliRunner().invoke(app, ["unit", str(tmp_path / "site.yaml")]).exception, ConfigError)
