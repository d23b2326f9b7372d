"""`ra-client start`: what a hospital leaves running. It keeps a SuperNode alive, and says how it goes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path

from client.member.allow import allowed
from client.member.reach import private_key, trust
from client.member.station import MARKER, Station, open_station
from client.member.told import line
from ra_core.console import graceful_stop
from ra_core.daemons.claim import alone, introduced
from ra_core.daemons.environment import flower_environment, toml
from ra_core.daemons.events import Events, read_events
from ra_core.daemons.health import serving
from ra_core.daemons.processes import free_ports
from ra_core.daemons.supervisor import Program, Supervisor
from ra_core.errors import ResumeError
from ra_core.files import sweep, write_atomically
from ra_core.installed import package_hash, refuse_foreign
from ra_core.keys import fingerprint

__all__ = ["run_daemon"]

SHORTEST, LONGEST = 5.0, 30.0
"""Pauses in seconds before a restart. The server forgets a broken connection after a minute: a few tries."""

LOG_BYTES = 10 << 20
"""A larger log is put aside at the start; the one that was put aside before goes."""


def run_daemon(site: Path, data: Path | None, cache: Path | None, say: Callable[[str], None]) -> None:
    """Join, and stay until Ctrl-C or SIGTERM.

    Args:
        site: config.
        data: root, in place of the config's.
        cache: folder for what was seen, in place of the user's.
        say: shows a line to whoever looks.

    Raises:
        RAError: the site can't join as it is: its config, packages, key, CA or images; or a daemon runs already.
        OSError: the state folder can't be written.
    """
    station = open_station(site)
    refuse_foreign()
    key = private_key(station)
    trust(station)
    bundles = allowed(station)
    station.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with alone(station.lock, _runs_already):
        sweep(station.state, "**/")
        with ProcessPoolExecutor(1, get_context("spawn")) as apart:  # its memory is given back
            apart.submit(_check_images, site, data, cache).result()
        say(f"site '{station.site}', key {fingerprint(key.public_key())}, {len(bundles)} app bundle(s) allowed")
        for log in (_log(station), station.events):
            _put_aside(log)
        port, health_port = free_ports(2)
        health = f"127.0.0.1:{health_port}"
        follow = _Follower(station, say)
        events = Events(station.events)
        events.tell("daemon_started", site=station.site, packages=package_hash(), pid=os.getpid())
        supervisor = Supervisor([_supernode(station, data, cache, port, health)], events, _environment(station), MARKER)
        try:
            with introduced(station.daemon, health=health), graceful_stop() as stop:
                supervisor.run(stop, follow)
        finally:
            events.tell("daemon_stopped")
            follow()


def _check_images(site: Path, data: Path | None, cache: Path | None) -> None:
    """As `ra-client check` does."""
    from client.check.run import run_check  # noqa: PLC0415 - the daemon itself needs nothing of it

    run_check(site, data, None, None, [], None, cache)


def _runs_already() -> ResumeError:
    return ResumeError("a daemon runs already with this state folder", "end it first; `ra-client doctor` tells of it")


def _supernode(station: Station, data: Path | None, cache: Path | None, port: int, health: str) -> Program:
    """The SuperNode: an outgoing connection, and on loopback what its own children and the health check need."""
    return Program(
        "supernode",
        (
            *(sys.executable, "-P", "-m", "client.member.supernode", str(station.file)),
            *("--superlink", station.server.address, "--root-certificates", str(station.ca_certificate)),
            *("--auth-supernode-private-key", str(station.private_key)),
            *("--node-config", str(_node_settings(station, data, cache))),
            *("--port", str(port), "--health-server-address", health),
        ),
        _log(station),
        shortest=SHORTEST,
        longest=LONGEST,
        healthy=lambda: serving(health),
    )


def _log(station: Station) -> Path:
    """What the SuperNode and the app say; it may name files, and stays here."""
    return station.flower / "supernode.log"


def _put_aside(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))


def _node_settings(station: Station, data: Path | None, cache: Path | None) -> Path:
    """A file with what the app at this site is told; nothing of it is sent to the server."""
    given = {"data-root": data, "cache": cache and cache / "images"}
    settings = {"site-config": station.file, "state-folder": station.state}
    settings |= {name: path.absolute() for name, path in given.items() if path}
    path = station.flower / "node.toml"
    text = toml({name: str(value) for name, value in settings.items()})
    write_atomically(path, text.encode(), mode=0o600)
    return path


def _environment(station: Station) -> dict[str, str]:
    return flower_environment(station.flower) | {MARKER: str(station.state), "PYTHONSAFEPATH": "1"}


class _Follower:
    """Says what the daemon and its SuperNode have told since the last call; a reason for not connecting only once."""

    def __init__(self, station: Station, say: Callable[[str], None]) -> None:
        self._path, self._say = station.events, say
        self._offset = station.events.stat().st_size if station.events.exists() else 0
        self._known = ""

    def __call__(self) -> None:
        told, self._offset = read_events(self._path, self._offset)
        for event in told:
            text = "" if event["event"] == "exited" and self._known else line(event)
            if text and text != self._known:
                self._say(f"{datetime.now().astimezone():%H:%M:%S} {text}")
            if event["event"] in ("waiting", "connected"):
                self._known = text if event["event"] == "waiting" else ""
