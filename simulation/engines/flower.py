"""The Flower engine: a SuperLink of our own and Flower's simulation, one site after another in a process of its own.

Everything of it is in the run's folder and on a port of its own, so that neither another run nor the user's own Flower
settings meet it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.app import SIMULATION
from ra_core import errors
from ra_core.config import RuntimeConfig, StudyConfig
from ra_core.errors import ConfigError, RAError
from server.app import CHECKPOINT, FAILURE
from server.bundle import write_app
from server.checkpoint import load_progress
from server.progress import Progress
from simulation.engines.node import NODES, Node, OnProgress, answered, prepare
from simulation.engines.processes import executable, free_port, last_lines, superlink

__all__ = ["run_flower"]

POLL_SECONDS = 3.0
COMMAND_SECONDS = 120.0
PENDING_SECONDS = 300.0
"""Longest wait for a command, and for a run to leave the queue."""

ELSE = "the in-process engine gives the same model"

CONNECTION = "simulation"
ONE_AT_A_TIME = "client-resources-num-cpus=1 init-args-num-cpus=1"
"""Ray's own count of CPUs, not how many threads a site has."""


def run_flower(
    study: StudyConfig, nodes: Sequence[Node], runtime: RuntimeConfig, folder: Path, on_progress: OnProgress
) -> Progress:
    """Run a study, or go on with it, in Flower's simulation. All processes it starts have ended when it returns.

    Args:
        study: settings, the same for all sites.
        nodes: one a site.
        runtime: device and threads of all sites.
        folder: where settings, checkpoint, the reason of a failure and, in `flower/`, Flower's logs are written: what
            server and sites say is in `run.log`.
        on_progress: called with the number of answers so far and in all; it moves by one exchange at a time.

    Returns:
        The final state.

    Raises:
        ConfigError: Ray is not installed.
        RAError: of any kind: the server's failure, or Flower's own.
        OSError: the folder can't be written.
    """
    _require_ray()
    folder = folder.resolve()
    _, run_config = prepare(study, nodes, runtime, folder)
    (folder / FAILURE).unlink(missing_ok=True)
    port = free_port()
    home = _write_home(folder / "flower", port, run_config)
    with tempfile.TemporaryDirectory(prefix="ra-") as scratch:  # Ray's sockets bear no long paths
        env = _environment(home, folder / NODES, Path(scratch))
        with superlink(port, home / "superlink.log", env, SIMULATION) as process:
            run = _Run(home, env, process, _submit(home, env, len(nodes)))
            run.follow(folder, study, nodes, on_progress)
            run.save_log()
    _raise_failure(folder / FAILURE)
    if run.status != "finished:completed":
        raise run.failure()
    return load_progress(folder / CHECKPOINT, study.digest())


def _require_ray() -> None:
    missing = [name for name in ("ray", "psutil") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the Flower engine needs {' and '.join(missing)}",
            "pip install 'federated-ra[simulation]', or run in-process",
        )


def _write_home(home: Path, port: int, run_config: Mapping[str, str]) -> Path:
    """Flower's settings, the app and the run's settings, in a fresh folder."""
    shutil.rmtree(home, ignore_errors=True)
    write_app(home / "app")
    connection = {"address": f"127.0.0.1:{port}"}
    (home / "config.toml").write_text(
        f"[superlink.{CONNECTION}]\ninsecure = true\n{_toml(connection)}", encoding="utf-8"
    )
    (home / "run.toml").write_text(_toml(run_config), encoding="utf-8")
    return home


def _toml(texts: Mapping[str, str]) -> str:
    """A JSON string is a TOML string too."""
    return "".join(f"{name} = {json.dumps(text, ensure_ascii=False)}\n" for name, text in texts.items())


def _environment(home: Path, nodes_file: Path, scratch: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}  # no cluster of others
    return inherited | {
        SIMULATION: str(nodes_file),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "FLWR_HOME": str(home),
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": str(scratch),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a site sees the GPUs that we see
    }


def _submit(home: Path, env: Mapping[str, str], nodes: int) -> str:
    """The new run's id."""
    federation = f"num-supernodes={nodes} {ONE_AT_A_TIME}"
    options = ("--run-config", str(home / "run.toml"), "--federation-config", federation)
    return str(_flwr(env, "run", str(home / "app"), CONNECTION, *options)["run-id"])


def _flwr(env: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    """What a `flwr` command answers. Its exit code says nothing.

    Raises:
        RAError: it reports no success.
    """
    done = _command(env, *arguments, "--format", "json")
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        answer = {}
    if not answer.get("success"):
        reason = answer.get("error-message") or done.stderr.strip()[-300:]
        raise RAError(f"`flwr {arguments[0]}` failed: {reason}", f"flower/superlink.log in the run's folder; {ELSE}")
    return answer


def _command(env: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [executable("flwr"), *arguments]
    try:
        return subprocess.run(  # noqa: S603 - our own command
            command, env=env, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise RAError(f"`flwr {arguments[0]}` gave no answer for {COMMAND_SECONDS:.0f} s", ELSE) from None


@dataclass
class _Run:
    """A submitted run.

    Attributes:
        home: Flower's folder.
        env: environment of Flower's commands.
        superlink: that has the run.
        number: the run's id.
        status: the last known, as Flower names it.
        details: to it.
    """

    home: Path
    env: Mapping[str, str]
    superlink: subprocess.Popen[bytes]
    number: str
    status: str = "pending"
    details: str = ""

    def follow(self, folder: Path, study: StudyConfig, nodes: Sequence[Node], on_progress: OnProgress) -> None:
        """Wait for the run's end.

        Raises:
            RAError: the SuperLink has died, or the run is never begun.
        """
        total, told = (study.federation.rounds + 1) * len(nodes), -1
        started = time.monotonic()
        while not self.status.startswith("finished"):
            time.sleep(POLL_SECONDS)
            run = _flwr(self.env, "ls", CONNECTION, "--run-id", self.number)["runs"][0]
            self.status, self.details = run["status"], run["status-details"]
            waited = time.monotonic() - started
            if self.superlink.poll() is not None or (self.status == "pending" and waited > PENDING_SECONDS):
                raise self.failure()
            done = answered(study, nodes, folder)
            if done > told:
                on_progress(done, total)
                told = done

    def save_log(self) -> None:
        """What server and sites have said, from the SuperLink that has it to `run.log`."""
        done = _command(self.env, "log", self.number, CONNECTION, "--show")
        self._log.write_text(done.stdout + done.stderr, encoding="utf-8")

    def failure(self) -> RAError:
        """What is known of a failure of Flower itself."""
        log = self._log if self._log.exists() else self.home / "superlink.log"
        return RAError(f"{log}: the run is {self.status}: {self.details or last_lines(log)}", "read the whole file")

    @property
    def _log(self) -> Path:
        return self.home / "run.log"


def _raise_failure(path: Path) -> None:
    """Raise the server's failure, as it was there, if there was one."""
    if not path.exists():
        return
    failure = json.loads(path.read_text(encoding="utf-8"))
    kind, message = str(failure["kind"]), str(failure["message"])
    if kind in errors.__all__:
        raise getattr(errors, kind)(message, str(failure["hint"]))
    raise RAError(f"{kind} in the server: {message}", "flower/run.log in the run's folder has the traceback")
