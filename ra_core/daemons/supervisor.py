"""Children that are kept alive: started, watched, restarted with a growing pause, and ended together."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ra_core.daemons.events import Events
from ra_core.daemons.processes import GRACE_SECONDS, end_all, last_lines

__all__ = ["Program", "Supervisor"]

TICK_SECONDS = 0.5
"""Pause between two looks at the children."""

STEADY_SECONDS = 120.0
"""A child that was up for so long is taken for mended: its next pause is the shortest again."""

HUNG_SECONDS = 60.0
"""A child whose health is bad for so long is restarted."""


@dataclass(frozen=True)
class Program:
    """A child.

    Attributes:
        name: in events.
        command: program and arguments.
        log: file that its output is appended to.
        shortest, longest: pauses in seconds before a restart; each is twice the one before.
        healthy: whether it does its work; asked now and then, and a child that says no for a minute is restarted.
        explain: an exit code and the last lines of the log, in words for the event; "" where it knows none.
    """

    name: str
    command: Sequence[str]
    log: Path
    shortest: float = 1.0
    longest: float = 60.0
    healthy: Callable[[], bool] | None = None
    explain: Callable[[int, str], str] = lambda _code, _lines: ""


class Supervisor:
    """Keeps programs alive until it is told to stop; events `started`, `exited`, `hung` name the `process`.

    Args:
        programs: each has a name of its own.
        events: where it is told.
        env: the whole environment of all programs.
        marker: name of a variable in `env` whose value no other daemon has, by which what a killed predecessor left is
            found.
    """

    def __init__(self, programs: Sequence[Program], events: Events, env: Mapping[str, str], marker: str) -> None:
        self._children = {program.name: _Child(program, events, env) for program in programs}
        self._marker, self._value = marker, env[marker]

    def run(self, stop: Callable[[], bool], tick: Callable[[], None] = lambda: None) -> None:
        """Start all, keep them up, and end them and what they started once `stop` says so, or whatever happens.

        Args:
            stop: asked twice a second.
            tick: called as often: the place for what a daemon does besides.

        Raises:
            OSError: a program or its log can't be opened.
        """
        end_all(self._marker, self._value, GRACE_SECONDS)
        try:
            while not stop():
                for child in self._children.values():
                    child.look()
                tick()
                time.sleep(TICK_SECONDS)
        finally:
            end_all(self._marker, self._value, GRACE_SECONDS)
            for child in self._children.values():
                child.reap()

    def restart(self, name: str) -> None:
        """End a program's process; it is started again."""
        self._children[name].end()

    def up(self, name: str) -> bool:
        """Whether a program's process runs."""
        return self._children[name].up

    def restarts(self, name: str) -> int:
        """How often a program was started again."""
        return max(0, self._children[name].starts - 1)


class _Child:
    def __init__(self, program: Program, events: Events, env: Mapping[str, str]) -> None:
        self.program, self.events, self.env = program, events, env
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._pause = program.shortest
        self._next_start = self._started = self._well = 0.0

    @property
    def up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def look(self) -> None:
        """Start it where its time has come; note its end; restart it where it hangs."""
        if self._process is None:
            if time.monotonic() >= self._next_start:
                self._start()
        elif self._process.poll() is not None:
            self._note_end(self._process.returncode)
        elif self.program.healthy is not None:
            self._look_at_health(self.program.healthy)

    def end(self) -> None:
        """End it and its group: politely, then not."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 15)
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, 9)

    def reap(self) -> None:
        """Wait for its end, so that it leaves no zombie."""
        if self._process is not None:
            self._process.wait()

    def _start(self) -> None:
        self.program.log.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.program.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                list(self.program.command),
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
                start_new_session=True,
            )
        finally:
            os.close(handle)
        self.starts += 1
        self._started = self._well = time.monotonic()
        self.events.tell("started", process=self.program.name, pid=self._process.pid)

    def _note_end(self, code: int) -> None:
        self._process = None
        now = time.monotonic()
        if now - self._started > STEADY_SECONDS:
            self._pause = self.program.shortest
        why = self.program.explain(code, last_lines(self.program.log))
        self.events.tell("exited", process=self.program.name, code=code, why=why, restart_in=self._pause)
        self._next_start = now + self._pause
        self._pause = min(2 * self._pause, self.program.longest)

    def _look_at_health(self, healthy: Callable[[], bool]) -> None:
        now = time.monotonic()
        if now - self._well < HUNG_SECONDS / 10:
            return
        if healthy():
            self._well = now
        elif now - self._well > HUNG_SECONDS:
            self.events.tell("hung", process=self.program.name)
            self.end()
