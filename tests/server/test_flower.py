"""Flower's control commands, called as a command of our own that stands in for `flwr`; real ones: tests/system."""

import http.server
import os
import stat
import threading
import tomllib
from pathlib import Path
from typing import ClassVar

import pytest
from flwr.proto.control_pb2 import ListNodesResponse, ListRunsRequest, ListRunsResponse
from flwr.proto.node_pb2 import NodeInfo
from flwr.proto.run_pb2 import Run, RunStatus

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


def test_a_node_is_registered(fake, tmp_path):
    assert fake("""echo '{"success": true, "node-id": 7}'""").register(Path("key.pub")) == 7
    assert (tmp_path / "asked").read_text() == f"supernode register key.pub {CONNECTION} --format json\n"


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


class Stand(http.server.BaseHTTPRequestHandler):
    """In a SuperLink's place; real ones: tests/system."""

    answers: ClassVar = {}

    def do_POST(self):
        request = self.rfile.read(int(self.headers["content-length"]))
        code, content = self.answers[self.path](request)
        self.send_response(code)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A function that gives a SuperLink answers, by question; its value asks it."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # where nobody is
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stand) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        write_connection(tmp_path, f"127.0.0.1:{server.server_port}")

        def make(**answers):
            paths = {f"/v1/control/{name.replace('_', '-')}": answer for name, answer in answers.items()}
            monkeypatch.setattr(Stand, "answers", paths)
            return Flower({"FLWR_HOME": str(tmp_path)}, hint="mend")

        yield make
        server.shutdown()


def test_nodes_as_flowers_command_tells_them(asked):
    came, went = "2026-01-02T03:04:05.678901+00:00", "2026-01-02T05:00:00+00:00"
    there = NodeInfo(node_id=2**63 + 1, status="online", last_activated_at=came)
    gone = NodeInfo(node_id=5, status="offline", last_activated_at=came, last_deactivated_at=went)
    answer = ListNodesResponse(nodes_info=[there, gone, NodeInfo(node_id=6, status="registered")])
    assert asked(list_nodes=lambda _: (200, answer.SerializeToString())).nodes() == [
        (str(2**63 + 1), "online", "2026-01-02 03:04:05Z", "N/A"),
        ("5", "offline", "2026-01-02 03:04:05Z", "2026-01-02 05:00:00Z"),
        ("6", "registered", "N/A", "N/A"),
    ]


def runs(request):
    """One that failed, and no other."""
    number = ListRunsRequest.FromString(request).run_id
    if number == 6:
        return 404, b"no such run"
    status = RunStatus(status="finished", sub_status="failed", details="why")
    found = Run(run_id=number, fab_hash="ab", status=status if number == 5 else RunStatus(status="running"))
    return 200, ListRunsResponse(run_dict={number: found} if number != 7 else {}).SerializeToString()


def test_a_runs_status(asked):
    flower = asked(list_runs=runs)
    assert flower.status(5) == ("finished:failed", "why", "ab")
    assert flower.status(4) == ("running", "", "ab")
    assert (flower.status(5).finished, flower.status(4).finished) == (True, False)
    for unknown in (6, 7):
        with pytest.raises(FlowerError) as caught:
            flower.status(unknown)
        assert caught.value.hint == "mend"


def test_a_superlink_that_cant_be_asked(asked, tmp_path):
    with pytest.raises(FlowerError, match="no answer of the SuperLink to list-nodes: DecodeError"):
        asked(list_nodes=lambda _: (200, b"no message")).nodes()
    write_connection(tmp_path, "127.0.0.1:9")
    with pytest.raises(FlowerError, match="list-nodes: ConnectError"):
        asked().nodes()
    (tmp_path / "config.toml").unlink()
    with pytest.raises(FlowerError, match="list-nodes: FileNotFoundError"):
        asked().nodes()
