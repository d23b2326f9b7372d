"""The one daemon of a folder: who it is, and that there is no second one."""

import json
import os
import stat
import threading

import pytest
from filelock import FileLock, Timeout

from ra_core.daemons.claim import alone, introduced, taken
from ra_core.errors import ResumeError


@pytest.fixture
def lock(tmp_path):
    return tmp_path / ".daemon.lock"


def refusal():
    return ResumeError("another one", "end it")


def test_it_is_taken_while_a_daemon_has_it(lock):
    assert not taken(lock)
    assert not lock.exists()  # whoever asks makes nothing
    with alone(lock, refusal):
        assert taken(lock)
        with pytest.raises(ResumeError, match="another one"), alone(lock, refusal):
            pytest.fail("two daemons")
        assert taken(lock)
    assert not taken(lock)


def test_an_error_of_the_daemon_stays_what_it_is_and_frees_the_folder(lock):
    with pytest.raises(Timeout), alone(lock, refusal):
        raise Timeout("of another lock")
    assert not taken(lock)


def test_a_look_keeps_no_daemon_from_starting(lock):
    looking = FileLock(lock, thread_local=False)
    looking.acquire()
    over = threading.Timer(0.1, looking.release)
    over.start()
    with alone(lock, refusal):
        assert taken(lock)
    over.join()


def test_a_file_says_who_it_is_while_it_runs(tmp_path):
    path = tmp_path / "daemon.json"
    with introduced(path, health="127.0.0.1:1"):
        told = json.loads(path.read_text())
        assert (told["pid"], told["health"]) == (os.getpid(), "127.0.0.1:1")
        assert told["started"].endswith("Z")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()
    with pytest.raises(ResumeError), introduced(path):
        raise refusal()
    assert not path.exists()
