"""What a config needs to join."""

import pytest
import yaml
from stations import write_station

from client.member.station import open_station
from ra_core.address import split_address
from ra_core.errors import ConfigError


def test_paths_are_absolute_wherever_the_command_runs(tmp_path, monkeypatch):
    write_station(tmp_path)
    monkeypatch.chdir(tmp_path)
    from pathlib import Path

    station = open_station(Path("site.yaml"))
    assert station.state == tmp_path / "state"
    assert station.private_key == tmp_path / "site.key"
    assert all(path.is_absolute() for path in (station.file, station.ca_certificate, station.events, station.lock))


@pytest.mark.parametrize("key", ["server", "state", "server.ca_certificate", "server.private_key"])
def test_what_is_missing_is_named(tmp_path, key):
    path = write_station(tmp_path).file
    settings = yaml.safe_load(path.read_text())
    section, _, name = key.rpartition(".")
    del (settings[section] if section else settings)[name]
    path.write_text(yaml.safe_dump(settings))
    with pytest.raises(ConfigError, match=f"{key}: is required to join"):
        open_station(path)


@pytest.mark.parametrize("server", [{"address": "https://x:1"}, {"address": "x"}, {"allowed": ["F" * 64]}])
def test_an_address_and_hashes_are_what_they_should_be(tmp_path, server):
    with pytest.raises(ConfigError, match=f"server.{next(iter(server))}"):
        write_station(tmp_path, **server)


@pytest.mark.parametrize("text", ["x:0", "x:65536", ":1", "x", "[::1]", "::1:1", "x:１", "a b:1", "x:1\n"])
def test_no_address(text):
    with pytest.raises(ValueError, match="HOST:PORT"):
        split_address(text)


def test_addresses():
    assert split_address("[::1]:443") == ("::1", 443)
    assert split_address("fed.example.org:65535") == ("fed.example.org", 65535)
