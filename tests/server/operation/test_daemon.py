"""What the daemon does before it starts anything; with real processes: tests/system/test_server_daemon.py."""

import os
import re
import socket
import stat

import pytest
from consortia import provisioned, write_consortium
from filelock import FileLock

from ra_core.errors import ConfigError
from server.operation import daemon
from server.operation.daemon import running, start


@pytest.fixture(scope="module")
def consortium(tmp_path_factory):
    return provisioned(tmp_path_factory.mktemp("daemon"))


def never():
    pytest.fail("it should not have come so far")


def test_what_is_not_provisioned_is_not_started(tmp_path):
    consortium = write_consortium(tmp_path)
    with pytest.raises(ConfigError, match=r"ca\.crt: missing") as caught:
        start(consortium, never, print)
    assert "ra-server provision" in caught.value.hint
    assert running(consortium) == {}


def test_one_daemon_a_folder(consortium):
    with FileLock(consortium.folder / ".daemon.lock"):
        with pytest.raises(ConfigError, match="a daemon runs already"):
            start(consortium, never, print)
        assert running(consortium) == {"pid": None}
    assert running(consortium) == {}


def test_ports_of_others_are_named(consortium):
    taken = f"127.0.0.1:{consortium.config.health_executor}"
    listener = socket.create_server(("127.0.0.1", consortium.config.health_executor))
    with listener, pytest.raises(ConfigError, match=f"health_executor: {re.escape(taken)} can't be listened on"):
        start(consortium, never, print)
    assert not consortium.daemon.exists()


def test_it_tells_who_it_is_while_it_runs(consortium, monkeypatch):
    seen = []

    class Programs:
        def __init__(self, programs, events, env, marker):
            self.names = [program.name for program in programs]
            assert env[marker] == str(consortium.folder)

        def run(self, stop, tick):
            seen.append((running(consortium)["pid"], self.names))

    monkeypatch.setattr(daemon, "Supervisor", Programs)
    start(consortium, never, print)
    assert seen == [(os.getpid(), ["superlink", "executor"])]
    assert running(consortium) == {}


def test_everything_is_on_loopback_with_keys_and_without_installing(consortium):
    superlink, executor = (" ".join(program.command) for program in daemon._programs(consortium))
    for part in ("--host 127.0.0.1", "--enable-supernode-auth", "--isolation process", "--disable-runtime-dependency"):
        assert part in superlink
    assert "--insecure" not in superlink + executor
    assert "--allow-runtime-dependency-installation" not in superlink + executor
    assert f"--root-certificates {consortium.ca_certificate}" in executor
    secret = consortium.flower / "superexec.secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    before = secret.read_bytes()
    daemon._programs(consortium)
    assert secret.read_bytes() == before
    assert len(before) == 32


def test_why_a_process_ended_is_told_plainly():
    assert daemon._why(-9, "whatever") == "killed by signal 9"
    assert daemon._why(1, "\x1b[91mERROR\x1b[0m: no") == "ERROR: no"
