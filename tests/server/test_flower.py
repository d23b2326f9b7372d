"""Flower's control commands, called as a command of our own that stands in for `flwr`; real ones: tests/system."""

import os
import stat
import tomllib
from pathlib import Path

import pytest

from ra_core.errors import FlowerError
from server import flower
from server.flower import CONNECTION, Flower, toml, write_connection


@pytest.mark.parametrize("text", ["plain", 'a "quoted" path', "back\\slash", "Zürich 🏥", "tab\tand\nline"])
def test_texts_survive_toml(text):
    assert tomllib.loads(toml({"folder": text})) == {"folder": text}


@pytest.mark.parametrize("ca", [None, Path("/somewhere/ca.crt")])
def test_the_only_connection_is_ours_and_trusts_our_ca_alone(tmp_path, ca):
    write_connection(tmp_path / "home", "127.0.0.1:9443", ca)
    found = tomllib.loads((tmp_path / "home" / "config.toml").read_text())["superlink"]
    trust = {"root-certificates": str(ca)} if ca else {"insecure": True}
    assert found == {CONNECTION: {"address": "127.0.0.1:9443"} | trust}


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A function that makes `flwr` a script; its arguments are noted in `asked`."""

    def make(body):
        script = tmp_path / "flwr"
        script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n{body}\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(flower, "executable", lambda name: str(tmp_path / name))
        return Flower(os.environ, hint="mend")

    return make


def test_a_node_is_registered_and_listed(fake, tmp_path):
    assert fake("""echo '{"success": true, "node-id": 7}'""").register(Path("key.pub")) == 7
    assert (tmp_path / "asked").read_text() == f"supernode register key.pub {CONNECTION} --format json\n"
    nodes = '[{"node-id": "7", "status": "online", "online-at": "now", "offline-at": "N/A", "owner-name": "x"}]'
    assert fake(f"""echo '{{"success": true, "nodes": {nodes}}}'""").nodes() == [("7", "online", "now", "N/A")]


def test_a_runs_settings_go_through_a_file(fake, tmp_path):
    control = fake(f"""cp "$5" {tmp_path}/settings; echo '{{"success": true, "run-id": "12"}}'""")
    assert control.submit(tmp_path / "app", {"folder": 'a "b"\n'}, "--stream") == 12
    assert tomllib.loads((tmp_path / "settings").read_text()) == {"folder": 'a "b"\n'}
    assert "--stream --format json" in (tmp_path / "asked").read_text()


def test_a_success_by_exit_code_alone_is_none(fake, tmp_path):
    (tmp_path / "answer").write_text('{"success": false, "error-message": "Stopping 3...\\n\\nno such\\nrun"}')
    with pytest.raises(FlowerError, match=r"^`flwr stop` failed: no such run$") as caught:
        fake(f"cat {tmp_path}/answer").stop(3)
    assert caught.value.hint == "mend"
    with pytest.raises(FlowerError, match="segmentation"):
        fake("echo 'segmentation fault' >&2; exit 0").stop(3)


def test_a_command_that_hangs_is_given_up(fake, monkeypatch):
    monkeypatch.setattr(flower, "COMMAND_SECONDS", 0.2)
    with pytest.raises(FlowerError, match="gave no answer"):
        fake("exec sleep 60").stop(3)


@pytest.mark.parametrize(("status", "finished"), [("pending", False), ("running", False), ("finished:failed", True)])
def test_a_runs_status(fake, status, finished):
    runs = f'[{{"status": "{status}", "status-details": "why", "fab-hash": "ab"}}]'
    state = fake(f"""echo '{{"success": true, "runs": {runs}}}'""").status(5)
    assert state == (status, "why", "ab")
    assert state.finished is finished
