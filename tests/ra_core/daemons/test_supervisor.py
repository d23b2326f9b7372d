import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from ra_core.daemons import supervisor
from ra_core.daemons.events import Events, read_events
from ra_core.daemons.supervisor import Program, Supervisor

MARKER = "RA_TEST_SUPERVISOR"
PATIENCE = 60


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(supervisor, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 1.0)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


class Desk:
    def __init__(self, folder):
        self.folder = folder
        self.events = Events(folder / "events.jsonl")
        self.env = {**os.environ, MARKER: str(folder)}

    def python(self, name, code, **more):
        return Program(name, (sys.executable, "-c", code), self.folder / f"{name}.log", **more)

    def supervise(self, programs, until, tick=lambda: None):
        keeper = Supervisor(programs, self.events, self.env, MARKER)
        end = time.monotonic() + PATIENCE

        def stop():
            assert time.monotonic() < end, self.told()
            return until(keeper)

        keeper.run(stop, tick)
        return keeper

    def told(self, kind=None):
        return [event for event in read_events(self.events.path)[0] if kind in (None, event["event"])]

    def left(self):
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(MARKER) == str(self.folder)
            except psutil.Error:
                continue
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found


SLEEPER = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
PARENT = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "


def test_what_ends_is_started_again_after_a_growing_pause(desk):
    desk.supervise(
        [desk.python("short", "raise SystemExit(7)", shortest=0.01, longest=0.04)],
        lambda _: False or len(desk.told("exited")) >= 4,
    )
    exits = desk.told("exited")
    assert [event["code"] for event in exits[:4]] == [7, 7, 7, 7]
    assert [event["restart_in"] for event in exits[:4]] == [0.01, 0.02, 0.04, 0.04]


def test_all_children_and_their_children_end(desk):
    programs = [desk.python("a", SLEEPER), desk.python("b", PARENT + "time.sleep(600)")]
    desk.supervise(programs, lambda keeper: keeper.up("a") and keeper.up("b") and len(desk.left()) == 3)
    assert desk.left() == []


def test_one_that_takes_no_hint_is_killed(desk, monkeypatch):
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.5)
    log = desk.folder / "a.log"
    desk.supervise([desk.python("a", STUBBORN)], lambda _: log.exists() and "up" in log.read_text())
    assert desk.left() == []


def test_an_error_in_the_daemon_ends_the_children_too(desk):
    def break_down():
        if len(desk.left()) == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        desk.supervise([desk.python("a", SLEEPER)], lambda _: False, break_down)
    assert desk.left() == []


def test_what_a_killed_predecessor_left_is_ended_first(desk):
    old = psutil.Popen([sys.executable, "-c", SLEEPER], env=desk.env)
    desk.supervise([desk.python("a", SLEEPER)], lambda keeper: keeper.up("a"))
    assert not old.is_running() or old.wait(5) is not None


def test_a_child_that_hangs_is_restarted(desk, monkeypatch):
    monkeypatch.setattr(supervisor, "HUNG_SECONDS", 0.2)
    healthy = iter([True, True])
    program = desk.python("a", SLEEPER, shortest=0.01, healthy=lambda: next(healthy, False))
    keeper = desk.supervise([program], lambda keeper: keeper.restarts("a") >= 1)
    assert [event["process"] for event in desk.told("hung")][:1] == ["a"]
    assert not keeper.up("a")


def test_it_is_restarted_when_asked(desk):
    asked = []

    def until(keeper):
        if keeper.up("a") and not asked:
            asked.append(keeper.restart("a"))
        return keeper.restarts("a") == 1 and keeper.up("a")

    desk.supervise([desk.python("a", SLEEPER, shortest=0.01)], until)
    assert len(desk.told("started")) == 2


def test_an_exit_is_explained_by_code_and_log(desk):
    program = desk.python(
        "a", "print('certificate expired'); raise SystemExit(3)", explain=lambda code, lines: f"{code}: {lines}"
    )
    desk.supervise([program], lambda _: bool(desk.told("exited")))
    assert desk.told("exited")[0]["why"] == "3: certificate expired"


def test_logs_are_kept_over_restarts_and_are_the_owners(desk):
    program = desk.python("a", "print('once more')", shortest=0.01)
    desk.supervise([program], lambda _: len(desk.told("exited")) >= 2)
    log = Path(desk.folder / "a.log")
    assert log.read_text().count("once more") >= 2
    assert log.stat().st_mode & 0o077 == 0
