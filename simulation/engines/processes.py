"""A SuperLink for simulations on this machine, and the end of all that it started."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ra_core.daemons.processes import end_all, executable, last_lines
from ra_core.errors import FlowerError

__all__ = ["superlink"]

START_SECONDS = 120.0
"""Longest wait for a SuperLink to come up."""


@contextlib.contextmanager
def superlink(port: int, log: Path, env: Mapping[str, str], marker: str) -> Iterator[subprocess.Popen[bytes]]:
    """A SuperLink for simulations, up and healthy; it and all that it started end with the block.

    Args:
        port: on loopback.
        log: file for what it and its children say.
        env: its whole environment.
        marker: name of a variable in `env` whose value no other process has.

    Raises:
        FlowerError: it doesn't come up.
    """
    end_all(marker, env[marker])  # what a killed run has left would write to the same checkpoint
    command = [executable("flower-superlink"), "--insecure", "--simulation", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=env, stdout=file, stderr=file, start_new_session=True)  # noqa: S603 - Flower's
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
            raise FlowerError(f"{log}: Flower's SuperLink doesn't come up: {last_lines(log)}", "read the whole file")
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
