"""The Flower engine: a SuperLink of our own and Flower's simulation, one site after another in a process of its own.

Everything of it is in the run's folder and on a port of its own, so that neither another run nor the user's own Flower
settings meet it.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from client.app import SIMULATION
from ra_core import errors
from ra_core.config import RuntimeConfig, StudyConfig
from ra_core.daemons.environment import flower_environment
from ra_core.daemons.processes import free_ports, last_lines
from ra_core.errors import ConfigError, FlowerError, RAError
from server.bundle import write_app
from server.flower import Flower, RunState, write_connection
from server.rounds.progress import Progress
from server.run_files import FAILURE
from simulation.engines.node import NODES, Node, OnProgress, answered, finished, prepare
from simulation.engines.processes import superlink

__all__ = ["run_flower"]

POLL_SECONDS = 3.0
PENDING_SECONDS = 300.0
"""Longest wait for a run to leave the queue."""

UNKNOWN = RunState("pending", "", "")

ELSE = "the in-process engine gives the same model"

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
    (port,) = free_ports(1)
    home = _write_home(folder / "flower", port)
    with tempfile.TemporaryDirectory(prefix="ra-") as scratch:  # Ray's sockets bear no long paths
        env = _environment(home, folder / NODES, Path(scratch))
        with superlink(port, home / "superlink.log", env, SIMULATION) as process:
            flower = Flower(env, hint=f"flower/superlink.log in the run's folder; {ELSE}")
            options = ("--federation-config", f"num-supernodes={len(nodes)} {ONE_AT_A_TIME}")
            run = _Run(home, flower, process, flower.submit(home / "app", run_config, *options))
            run.follow(folder, study, nodes, on_progress)
            run.save_log()
    _raise_failure(folder / FAILURE)
    if run.state.status != "finished:completed":
        raise run.failure()
    return finished(study, folder)


def _require_ray() -> None:
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("the Flower engine needs ray", "pip install 'federated-ra[simulation]', or run in-process")


def _write_home(home: Path, port: int) -> Path:
    """Flower's settings and the app, in a fresh folder."""
    shutil.rmtree(home, ignore_errors=True)
    write_app(home / "app")
    write_connection(home, f"127.0.0.1:{port}")
    return home


def _environment(home: Path, nodes_file: Path, scratch: Path) -> dict[str, str]:
    inherited = flower_environment(home)
    inherited.pop("RAY_ADDRESS", None)  # no cluster of others
    return inherited | {
        SIMULATION: str(nodes_file),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": str(scratch),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a site sees the GPUs that we see
    }


@dataclass
class _Run:
    """A submitted run.

    Attributes:
        home: Flower's folder.
        flower: its control commands.
        superlink: that has the run.
        number: the run's.
        state: the last known.
    """

    home: Path
    flower: Flower
    superlink: subprocess.Popen[bytes]
    number: int
    state: RunState = UNKNOWN

    def follow(self, folder: Path, study: StudyConfig, nodes: Sequence[Node], on_progress: OnProgress) -> None:
        """Wait for the run's end.

        Raises:
            FlowerError: the SuperLink has died, or the run is never begun.
        """
        total, told = (study.federation.rounds + 1) * len(nodes), -1
        started = time.monotonic()
        while not self.state.finished:
            time.sleep(POLL_SECONDS)
            self.state = self.flower.status(self.number)
            waited = time.monotonic() - started
            if self.superlink.poll() is not None or (self.state.status == "pending" and waited > PENDING_SECONDS):
                raise self.failure()
            done = answered(study, nodes, folder)
            if done > told:
                on_progress(done, total)
                told = done

    def save_log(self) -> None:
        """What server and sites have said, from the SuperLink that has it to `run.log`."""
        self._log.write_text(self.flower.log(self.number), encoding="utf-8")

    def failure(self) -> FlowerError:
        """What is known of a failure of Flower itself."""
        log = self._log if self._log.exists() else self.home / "superlink.log"
        why = self.state.details or last_lines(log)
        return FlowerError(f"{log}: the run is {self.state.status}: {why}", "read the whole file")

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
