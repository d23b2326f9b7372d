"""A run's folder: one process at a time, one plan, and a record of how far it is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ra_core.errors import ResumeError
from ra_core.files import sweep, write_atomically

__all__ = ["RunFolder", "exclusive"]


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Within, no other process is at work in a folder, which is made if need be.

    Raises:
        ResumeError: another one is.
    """
    path.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path / ".lock", timeout=0):
            yield
    except Timeout:
        raise ResumeError(f"{path}: another process is at work in it", "wait for it, or give another --out") from None


class RunFolder:
    """Open it with `RunFolder.claimed`.

    Attributes:
        path: the folder.
        record: what `run.json` holds: plan, status, seconds by part, and what the run adds.
    """

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path, self.record = path, record

    @classmethod
    @contextmanager
    def claimed(cls, path: Path, plan: Mapping[str, Any]) -> Iterator[RunFolder]:
        """The folder of a fresh run, or of the same run begun earlier. What ends the block early stands in the record.

        Raises:
            ResumeError: the folder holds another run or things that are of no run, or another process is at work in it.
        """
        with exclusive(path):
            folder = cls(path, _earlier(path, dict(plan)))
            _sweep(path)
            folder.write(status="running")
            try:
                yield folder
            except KeyboardInterrupt:
                folder.write(status="stopped")
                raise
            except Exception as error:
                folder.write(status="failed", reason=f"{type(error).__name__}: {error}")
                raise

    def write(self, **facts: Any) -> None:
        """Add facts to the record and store it."""
        self.record |= facts
        write_atomically(self.path / "run.json", (json.dumps(self.record, indent=2) + "\n").encode())

    @contextmanager
    def timed(self, part: str, *, anew: bool = False) -> Iterator[None]:
        """Add the seconds that the block takes, also where it ends early; those before a SIGKILL are lost.

        Args:
            part: what the record calls it.
            anew: the block does all of the part again, so earlier seconds don't count.
        """
        begun = time.monotonic()
        before = 0.0 if anew else self.record["seconds"].get(part, 0.0)
        try:
            yield
        finally:
            self.took(part, before + time.monotonic() - begun)

    def took(self, part: str, seconds: float) -> None:
        """Record what a part took."""
        self.record["seconds"][part] = seconds
        self.write()


def _sweep(path: Path) -> None:
    """Delete half-written files of a killed run, in the folders that a run writes to."""
    for written in ("arms", "models", "calibration", "galleries"):
        sweep(path / written, "**/")
    sweep(path)


def _earlier(path: Path, plan: dict[str, Any]) -> dict[str, Any]:
    file, hint = path / "run.json", f"give another --out, or delete {path} to start afresh"
    if not file.exists():
        foreign = sorted(found.name for found in path.iterdir() if found.name not in ("cohort", ".lock"))
        if foreign:
            raise ResumeError(
                f"{path}: holds '{foreign[0]}', which is of no run", "give a new or empty folder as --out"
            )
        return {"plan": plan, "status": "running", "seconds": {}}
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        earlier = record["plan"]
        changed = sorted(key for key in plan if earlier.get(key) != plan[key])
        seconds = {str(part): float(spent) for part, spent in record["seconds"].items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise ResumeError(f"{file}: is no record of a run", hint) from None
    if changed:
        raise ResumeError(f"{path}: holds a run with another {', '.join(changed)}", hint)
    return {"plan": plan, "status": "running", "seconds": seconds}
