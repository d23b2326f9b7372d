"""`ra-server start`: keeps SuperLink and executor up, runs going, and figures ready, until it is told to stop."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from typing import Any

from ra_core.address import split_address
from ra_core.daemons.claim import alone, introduced, taken
from ra_core.daemons.environment import flower_environment
from ra_core.daemons.events import Events
from ra_core.daemons.health import serving
from ra_core.daemons.processes import end_all, executable
from ra_core.daemons.supervisor import Program, Supervisor
from ra_core.errors import ConfigError
from ra_core.files import write_atomically
from ra_core.installed import package_hash, refuse_foreign
from server.consortium import Consortium, ConsortiumConfig
from server.flower import control, write_connection
from server.operation.keeper import Keeper
from server.operation.metrics import figures_served
from server.provisioning.certificates import expiry

__all__ = ["SUPERLINK", "health_addresses", "running", "start"]

MARKER = "RA_CONSORTIUM"
"""Environment variable of all processes of a daemon; its value is the consortium's folder."""

SUPERLINK, EXECUTOR = "superlink", "executor"

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def start(consortium: Consortium, stop: Callable[[], bool], say: Callable[[str], None]) -> None:
    """Run the daemon of a consortium.

    Args:
        consortium: a provisioned one.
        stop: asked twice a second; all processes are ended once it says so.
        say: gets lines for people.

    Raises:
        VersionError: packages of others would be run.
        ConfigError: it isn't provisioned, another daemon has it, or a port is taken.
        OSError: the folder can't be written.
    """
    refuse_foreign()
    expiry(consortium)
    with _alone(consortium):
        end_all(MARKER, str(consortium.folder))  # what a killed daemon has left
        _check_ports(consortium.config)
        write_connection(consortium.flower, consortium.config.listen, consortium.ca_certificate)
        events = Events(consortium.events)
        env = flower_environment(consortium.flower) | {MARKER: str(consortium.folder)}
        supervisor = Supervisor(_programs(consortium), events, env, MARKER)
        health = health_addresses(consortium.config)[SUPERLINK]
        keeper = Keeper(consortium, control(consortium), events, lambda: serving(health))

        def tick() -> None:
            keeper.check()
            if keeper.executor_stuck.is_set():
                keeper.executor_stuck.clear()
                supervisor.restart(EXECUTOR)

        events.tell("daemon_started", pid=os.getpid(), package_hash=package_hash())
        say(f"{consortium.config.name}: sites dial {consortium.config.address}; `ra-server status` tells the rest")
        with figures_served(consortium, keeper, supervisor, (SUPERLINK, EXECUTOR)), keeper.looking():
            supervisor.run(stop, tick)
        events.tell("daemon_stopped")


def running(consortium: Consortium) -> dict[str, Any]:
    """What the daemon that runs now has told of itself: pid, started, ports; empty where none runs."""
    if not taken(consortium.lock):
        return {}
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads(consortium.daemon.read_text(encoding="utf-8"))
        return found
    return {"pid": None}  # it is starting


def health_addresses(config: ConsortiumConfig) -> dict[str, str]:
    """HOST:PORT where each process of the daemon tells its health, by its name."""
    return {SUPERLINK: f"127.0.0.1:{config.health}", EXECUTOR: f"127.0.0.1:{config.health_executor}"}


@contextlib.contextmanager
def _alone(consortium: Consortium) -> Iterator[None]:
    """Within, this is the consortium's daemon."""
    config = consortium.config
    ports = {name: getattr(config, name) for name in ("health", "health_executor", "metrics", "dashboard")}
    with (
        alone(consortium.lock, lambda: _runs_already(consortium)),
        introduced(consortium.daemon, listen=config.listen, **ports),
    ):
        yield


def _runs_already(consortium: Consortium) -> ConfigError:
    return ConfigError(
        f"{consortium.folder}: a daemon runs already (process {running(consortium).get('pid')})",
        "`ra-server status` tells more; to start it anew, end that process with SIGTERM first",
    )


def _check_ports(config: ConsortiumConfig) -> None:
    ports = {"listen": config.listen} | {
        name: f"127.0.0.1:{getattr(config, name)}" for name in ("health", "health_executor")
    }
    for key, address in ports.items():
        host, port = split_address(address)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                why = error.strerror or type(error).__name__
                raise ConfigError(f"{key}: {address} can't be listened on: {why}", "give another port") from None


def _programs(consortium: Consortium) -> list[Program]:
    config, flower = consortium.config, consortium.flower
    host, port = split_address(config.listen)
    secret = flower / "superexec.secret"
    if not secret.exists():
        write_atomically(secret, secrets.token_bytes(32), 0o600)
    ca = str(consortium.ca_certificate)
    health = health_addresses(config)
    superlink = [
        executable("flower-superlink"),
        *("--ssl-ca-certfile", ca),
        *("--ssl-certfile", str(consortium.server_certificate)),
        *("--ssl-keyfile", str(consortium.server_key)),
        *("--host", host, "--port", str(port)),
        "--enable-supernode-auth",
        *("--database", str(flower / "state.db")),
        *("--isolation", "process"),
        *("--superexec-auth-secret-file", str(secret)),
        "--disable-runtime-dependency-installation",
        *("--health-server-address", health[SUPERLINK]),
    ]
    executor = [
        executable("flower-superexec"),
        *("--runtime-api-address", config.listen),
        *("--root-certificates", ca),
        *("--superexec-auth-secret-file", str(secret)),
        *("--health-server-address", health[EXECUTOR]),
    ]

    def program(name: str, command: list[str], log: str) -> Program:
        return Program(name, command, flower / log, healthy=lambda: serving(health[name]), explain=_why)

    return [
        program(SUPERLINK, superlink, "superlink.log"),
        program(EXECUTOR, executor, "superexec.log"),
    ]


def _why(code: int, lines: str) -> str:
    """Why a process has ended: the signal, or the last that it said, without colours."""
    return f"killed by signal {-code}" if code < 0 else _COLOUR.sub("", lines)
