"""A run's folder: one process at a time, one plan, and a record of how far it is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ra_core.errors import RAError, ResumeError
from ra_core.storage import sweep, write_atomically

__all__ = ["RunFolder"]


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
            ResumeError: the folder holds another run or no run, or another process is at work in it.
        """
        path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(path / ".lock", timeout=0):
                folder = cls(path, _earlier(path, dict(plan)))
                for found in (path, *(p for p in path.glob("**/*") if p.is_dir() and "cohort" not in p.parts)):
                    sweep(found)
                folder.write(status="running")
                try:
                    yield folder
                except RAError as error:
                    folder.write(status="failed", reason=error.message)
                    raise
        except Timeout:
            raise ResumeError(
                f"{path}: another process is at work in it", "wait for it, or give another --out"
            ) from None

    def write(self, **facts: Any) -> None:
        """Add facts to the record and store it."""
        self.record |= facts
        write_atomically(self.path / "run.json", (json.dumps(self.record, indent=2) + "\n").encode())

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add the seconds that the block takes, also where it ends early."""
        begun = time.monotonic()
        try:
            yield
        finally:
            seconds = self.record["seconds"]
            seconds[part] = seconds.get(part, 0.0) + time.monotonic() - begun
            self.write()


def _earlier(path: Path, plan: dict[str, Any]) -> dict[str, Any]:
    file, hint = path / "run.json", f"give another --out, or delete {path} to start afresh"
    if not file.exists():
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
