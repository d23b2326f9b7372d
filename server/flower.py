"""What the operator's side asks of Flower: by its commands, `flwr ... --format json`, never by exit code.

What is asked over and over goes to the SuperLink without a command (superlink.py).
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ra_core.daemons.environment import flower_environment, toml
from ra_core.daemons.processes import executable
from ra_core.errors import FlowerError
from ra_core.files import write_atomically
from server.consortium import Consortium

if TYPE_CHECKING:
    from server.superlink import SuperLink

__all__ = ["CONNECTION", "Flower", "NodeState", "RunState", "control", "write_connection"]

COMMAND_SECONDS = 120.0
"""Longest wait for a command."""

CONNECTION = "ours"
"""Name of the only SuperLink in our own Flower settings."""


class RunState(NamedTuple):
    """What Flower says of a run.

    Attributes:
        status: pending, starting, running, finished:completed, finished:failed or finished:stopped.
        details: to it, in Flower's words or the ServerApp's.
        app_hash: SHA-256 of the bundle that was submitted.
    """

    status: str
    details: str
    app_hash: str

    @property
    def finished(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.status.startswith("finished")


class NodeState(NamedTuple):
    """What Flower says of a registered key.

    Attributes:
        node: its number, a decimal one as text.
        status: registered (never seen), online, offline or unregistered.
        online_at: when it came last, `YYYY-MM-DD HH:MM:SSZ`, or "N/A".
        offline_at: when it went last, likewise.
    """

    node: str
    status: str
    online_at: str
    offline_at: str


def write_connection(home: Path, address: str, ca_certificate: Path | None = None) -> None:
    """Write Flower's settings: one SuperLink, ours.

    Args:
        home: Flower's own folder.
        address: HOST:PORT.
        ca_certificate: whom it has to prove itself to; without it there is no TLS.

    Raises:
        OSError: the folder can't be written.
    """
    secured = toml({"root-certificates": str(ca_certificate)}) if ca_certificate else "insecure = true\n"
    text = f"[superlink.{CONNECTION}]\n{toml({'address': address})}{secured}"
    write_atomically(home / "config.toml", text.encode())


def control(consortium: Consortium) -> Flower:
    """The control commands of a consortium's SuperLink, which `ra-server start` starts."""
    return Flower(
        flower_environment(consortium.flower), CONNECTION, "`ra-server start` has to run; `ra-server status` tells"
    )


@dataclass(frozen=True)
class Flower:
    """A SuperLink, as its control commands see it.

    Attributes:
        env: of the commands, from `flower_environment`.
        connection: name of the SuperLink in the settings of `FLWR_HOME`.
        hint: what the operator can do when a command fails.
    """

    env: Mapping[str, str]
    connection: str = CONNECTION
    hint: str = ""

    def call(self, *arguments: str) -> dict[str, Any]:
        """What a command answers.

        Raises:
            FlowerError: it reports no success.
        """
        done = self._command(*arguments, "--format", "json")
        try:
            answer: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            answer = {}
        if not answer.get("success"):
            told = str(answer.get("error-message") or done.stderr[-300:]).strip()
            reason = " ".join(told.rpartition("\n\n")[2].split())  # what it was about to do stands before
            raise FlowerError(f"`flwr {arguments[0]}` failed: {reason}", self.hint)
        return answer

    def register(self, public_key: Path) -> int:
        """Let a key in; the value is the number of its node.

        Raises:
            FlowerError: the SuperLink can't be reached, or has had this key before.
        """
        return int(self.call("supernode", "register", str(public_key), self.connection)["node-id"])

    def unregister(self, node: int) -> None:
        """Shut a node out, for ever: its key can't be registered again.

        Raises:
            FlowerError: the SuperLink can't be reached, or knows no such node.
        """
        self.call("supernode", "unregister", str(node), self.connection)

    def nodes(self) -> list[NodeState]:
        """All nodes that were ever registered.

        Raises:
            FlowerError: the SuperLink can't be reached.
        """
        return self._superlink().nodes()

    def submit(self, app: Path, run_config: Mapping[str, str], *options: str) -> int:
        """Start a run; the value is its number.

        Args:
            app: folder of the bundle.
            run_config: the run's settings, as `server/app.py` reads them.
            options: more of `flwr run`.

        Raises:
            FlowerError: the SuperLink can't be reached, or doesn't take the app or its settings.
        """
        with tempfile.TemporaryDirectory(prefix="ra-") as scratch:
            settings = Path(scratch) / "run.toml"
            settings.write_text(toml(run_config), encoding="utf-8")
            answer = self.call("run", str(app), self.connection, "--run-config", str(settings), *options)
        return int(answer["run-id"])

    def status(self, run: int) -> RunState:
        """What has become of a run.

        Raises:
            FlowerError: the SuperLink can't be reached, or knows no such run.
        """
        return self._superlink().status(run)

    def stop(self, run: int) -> None:
        """End a run; sites finish the message that they are at.

        Raises:
            FlowerError: the SuperLink can't be reached, knows no such run, or it has ended.
        """
        self.call("stop", str(run), self.connection)

    def log(self, run: int) -> str:
        """What the server's side of a run has said so far.

        Raises:
            FlowerError: the command gives no answer.
        """
        done = self._command("log", str(run), self.connection, "--show")
        return done.stdout + done.stderr

    def _superlink(self) -> SuperLink:
        from server.superlink import SuperLink  # noqa: PLC0415 - it takes a second, and many commands ask nothing

        return SuperLink(Path(self.env["FLWR_HOME"]), self.connection, self.hint)

    def _command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [executable("flwr"), *arguments]
        try:
            return subprocess.run(  # noqa: S603 - our own command
                command, env=self.env, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise FlowerError(f"`flwr {arguments[0]}` gave no answer for {COMMAND_SECONDS:.0f} s", self.hint) from None
