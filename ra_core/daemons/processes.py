"""Processes of this machine: our commands, free ports, logs, and the end of all that a killed run has left."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from pathlib import Path

import psutil

__all__ = ["end_all", "executable", "free_ports", "last_lines"]

GRACE_SECONDS = 10.0
"""What processes get to end by themselves before they are killed."""


def executable(name: str) -> str:
    """A command of the environment that we run in."""
    return str(Path(sys.executable).parent / name)


def free_ports(count: int) -> list[int]:
    """Different ports on loopback that nobody listens on: all are held at once, so that none comes twice."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def last_lines(log: Path, count: int = 3) -> str:
    """The last lines of a log that say something, on one line; "" where there is no log."""
    with contextlib.suppress(FileNotFoundError):
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
        return " | ".join([line for line in lines if line][-count:])
    return ""


def end_all(marker: str, value: str, grace: float = GRACE_SECONDS) -> None:
    """End the processes with this variable in their environment, and their children; none is left, but this one.

    They are in several sessions, so that no process group has them all; and Ray's workers write over their environment,
    so that they are known as children alone.
    """
    deadline = time.monotonic() + grace
    found: set[psutil.Process] = set()
    while found := {process for process in found | _marked(marker, value) if _alive(process)}:
        late = time.monotonic() > deadline
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill() if late else process.terminate()
        psutil.wait_procs(found, timeout=1)


def _marked(marker: str, value: str) -> set[psutil.Process]:
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(marker) == value and process.pid != os.getpid():
                found |= {process, *process.children(recursive=True)}
    return found


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
