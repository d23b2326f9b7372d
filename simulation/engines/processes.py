"""A SuperLink of our own on this machine, and the end of all that it started."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ra_core.errors import RAError

if TYPE_CHECKING:
    import psutil

__all__ = ["end_all", "executable", "free_port", "last_lines", "superlink"]

START_SECONDS = 120.0
"""Longest wait for a SuperLink to come up."""

GRACE_SECONDS = 10.0
"""What processes get to end by themselves before they are killed."""


def executable(name: str) -> str:
    """A command of the environment that we run in."""
    return str(Path(sys.executable).parent / name)


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def superlink(port: int, log: Path, env: Mapping[str, str], marker: str) -> Iterator[subprocess.Popen[bytes]]:
    """A SuperLink for simulations, up and healthy; it and all that it started end with the block.

    Args:
        port: on loopback.
        log: file for what it and its children say.
        env: its whole environment.
        marker: name of a variable in `env` whose value no other process has.

    Raises:
        RAError: it doesn't come up.
    """
    end_all(marker, env[marker])  # what a killed run has left would write to the same checkpoint
    command = [executable("flower-superlink"), "--insecure", "--simulation", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=env, stdout=file, stderr=file, start_new_session=True)  # noqa: S603
    try:
        _await_health(process, port, log)
        yield process
    finally:
        process.terminate()
        end_all(marker, env[marker])
        process.wait()


def _await_health(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _healthy(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RAError(f"{log}: Flower's SuperLink doesn't come up: {last_lines(log)}", "read the whole file")
        time.sleep(0.2)


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def last_lines(log: Path, count: int = 3) -> str:
    """The last lines of a log that say something, on one line."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return " | ".join([line for line in lines if line][-count:])


def end_all(marker: str, value: str) -> None:
    """End the processes with this variable in their environment, and their children; none is left.

    They are in several sessions, so that no process group has them all; and Ray's workers write over their environment,
    so that they are known as children alone.
    """
    import psutil  # noqa: PLC0415 - an optional extra

    deadline = time.monotonic() + GRACE_SECONDS
    found: set[psutil.Process] = set()
    while found := {process for process in found | _marked(marker, value) if _alive(process)}:
        late = time.monotonic() > deadline
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill() if late else process.terminate()
        psutil.wait_procs(found, timeout=1)


def _marked(marker: str, value: str) -> set[psutil.Process]:
    import psutil  # noqa: PLC0415 - an optional extra

    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(marker) == value and process.pid != os.getpid():
                found |= {process, *process.children(recursive=True)}
    return found


def _alive(process: psutil.Process) -> bool:
    import psutil  # noqa: PLC0415 - an optional extra

    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
