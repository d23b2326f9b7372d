"""A run's folder as the operator's side sees it: laid out, submitted to Flower, stopped, and noted as ended."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock
from pydantic import ValidationError

from ra_core import errors
from ra_core.config import StudyConfig
from ra_core.daemons.events import Events, read_events
from ra_core.errors import ConfigError, ResumeError, StoppedError
from ra_core.files import write_atomically
from ra_core.settings import first_problem
from ra_core.words import listed
from server.bundle import bundle_hash, write_app
from server.consortium import Consortium
from server.flower import Flower
from server.operation.run_record import STOPPED, End, RunRecord, Submission, Why
from server.provisioning.registry import load_sites, timestamp
from server.run_files import EVENTS, FAILURE, FLOWER, RESULT, STUDY

__all__ = ["Run"]


class Run:
    """A run's folder, as the operator's side sees it.

    Args:
        consortium: whose run it is.
        name: of the run, and of its folder.

    Raises:
        ConfigError: this can't be the name of a run.
    """

    def __init__(self, consortium: Consortium, name: str) -> None:
        self.consortium, self.name = consortium, name
        self.folder = consortium.run(name)

    @classmethod
    def all(cls, consortium: Consortium) -> list[Run]:
        """All runs of a consortium, by name."""
        return [cls(consortium, path.parent.name) for path in sorted(consortium.runs.glob(f"*/{FLOWER}"))]

    @property
    def study_file(self) -> Path:
        """The study's settings, which the server's app reads."""
        return self.folder / STUDY

    @property
    def events(self) -> Path:
        """What has happened, as JSON lines."""
        return self.folder / EVENTS

    def agree(self, study: StudyConfig, sites: Sequence[str]) -> RunRecord:
        """Lay the folder out for a study and its sites, or find that it is of the same.

        Raises:
            ResumeError: it is of other settings, or damaged.
        """
        with self._edited():
            agreed = RunRecord(study_digest=study.digest(), sites=tuple(sites))
            if not self.exists():
                text = yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
                write_atomically(self.study_file, text.encode())
                self._save(agreed)
            found = self.record()
        changed = [name for name in ("study_digest", "sites") if getattr(found, name) != getattr(agreed, name)]
        if changed:
            what = " and ".join({"study_digest": "another study", "sites": "other sites"}[name] for name in changed)
            raise ResumeError(f"the run '{self.name}' is of {what}", "give another --name for a new run")
        return found

    def exists(self) -> bool:
        """Whether it was ever agreed."""
        return self._file.exists()

    def record(self) -> RunRecord:
        """What is kept of the run.

        Raises:
            ConfigError: there is no such run.
            ResumeError: the record is damaged.
        """
        try:
            return RunRecord.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            known = ", ".join(run.name for run in Run.all(self.consortium)) or "none yet"
            raise ConfigError(f"there is no run '{self.name}'", f"runs are: {known}") from None
        except ValidationError as error:
            reason = first_problem(error, "record")
            raise ResumeError(f"{self._file}: {reason}", "give another --name for a new run") from None

    def submit(self, flower: Flower, why: Why, known: RunRecord | None = None) -> bool:
        """Start it at Flower, from its last checkpoint; nothing happens where it goes on already, or was just stopped.

        Args:
            flower: control commands.
            why: as of `Submission`.
            known: the record that the decision comes from; nothing happens either where it was submitted since.

        Returns:
            Whether it was started.

        Raises:
            FlowerError: Flower doesn't take it.
            ResumeError: a site has withdrawn from it.
            OSError: the record can't be written; the start was taken back.
            RAError: the record is missing or damaged.
        """
        with self._edited():
            record = self.record()
            _require_whole(self.name, record)
            goes_on = bool(record.submissions) and record.end is None
            if goes_on != (why == "again") or _submitted_since(record, known):
                return False
            (self.folder / FAILURE).unlink(missing_ok=True)
            app = self.consortium.flower / "app"
            write_app(app)
            number = flower.submit(app, self._settings(record))
            now = timestamp(dt.datetime.now(dt.UTC))
            last = Submission(number=number, when=now, why=why, rounds_done=self.rounds_done())
            try:
                self._save(record.model_copy(update={"submissions": (*record.submissions, last), "end": None}))
            except OSError:  # nobody would know of this start, and start it again
                flower.stop(number)
                raise
            self._events.tell("submitted", run=self.name, number=str(number), why=why)
            return True

    def stop(self, flower: Flower) -> None:
        """End it on the operator's word; the checkpoint stays.

        Raises:
            ConfigError: there is no such run, or it has ended.
            FlowerError: Flower can't be reached.
        """
        with self._edited():  # so that the daemon doesn't start it again in between
            record = self.record()
            if record.end or not record.submissions:
                state = record.end.state if record.end else "not begun"
                raise ConfigError(f"the run '{self.name}' is {state}", "there is nothing to stop")
            number = record.submissions[-1].number
            if not flower.status(number).finished:  # else it is about to be started again
                flower.stop(number)
            self._close(STOPPED)

    def close(self, end: End, known: RunRecord | None = None) -> bool:
        """Note how it ended; who is the first to know it tells it to those who read the events.

        Args:
            end: what is known.
            known: the record that it is known from; where the run was submitted since, it is of the past, and nothing
                happens: asking Flower takes seconds, in which an operator may stop and resume it.

        Returns:
            Whether it was noted.

        Raises:
            RAError: the record is missing or damaged.
        """
        with self._edited():
            if _submitted_since(self.record(), known):
                return False
            self._close(end)
            return True

    def withdraw(self, site: str, when: str) -> None:
        """Note that a site has withdrawn from it: it is not started again. The first time stays.

        Args:
            site: its name.
            when: as `timestamp` gives it.

        Raises:
            RAError: the record is missing or damaged.
        """
        with self._edited():
            record = self.record()
            self._save(record.model_copy(update={"withdrawn": {site: when} | record.withdrawn}))

    def rounds_done(self) -> int:
        """How many rounds were finished, those before a resume included."""
        told = [event for event in read_events(self.events)[0] if event["event"] == "round_done"]
        return len({event.get("round") for event in told})

    def masked_round(self) -> int:
        """The round that isn't done though masked figures were asked for, so that it can't be made again; or 0."""
        for event in reversed(read_events(self.events)[0]):
            if event["event"] == "stage" and event.get("stage") == "mask":
                return int(event["round"])
            if event["event"] == "round_done":
                return 0
        return 0

    def result(self) -> dict[str, Any]:
        """What `run.json` of the server's app says; empty where it says nothing yet."""
        return _json(self.folder / RESULT)

    def failure(self) -> dict[str, Any]:
        """What ended the server's app early; empty where nothing did."""
        return _json(self.folder / FAILURE)

    def _close(self, end: End) -> None:
        record = self.record()
        if record.end is None:
            self._save(record.model_copy(update={"end": end}))
            if end.state == "stopped" or end.kind == "FlowerError":  # the server's app told the rest itself
                code = getattr(errors, end.kind, StoppedError).exit_code
                self._events.tell("run_ended", state=end.state, reasons=list(end.reasons), code=code)

    def _settings(self, record: RunRecord) -> dict[str, str]:
        registry = load_sites(self.consortium)
        admitted = [registry[name] for name in record.sites if name in registry and registry[name].state == "admitted"]
        return {
            "study-file": str(self.study_file),
            "folder": str(self.folder),
            "sites": ",".join(record.sites),
            "nodes": ",".join(f"{site.node_id}:{site.name}" for site in admitted),
            "run": self.name,
            "bundle": bundle_hash(),
        }

    @property
    def _file(self) -> Path:
        return self.folder / FLOWER

    @property
    def _events(self) -> Events:
        return Events(self.events)

    def _save(self, record: RunRecord) -> RunRecord:
        write_atomically(self._file, f"{record.model_dump_json(indent=1)}\n".encode())
        return record

    @contextlib.contextmanager
    def _edited(self) -> Iterator[None]:
        """Within, no other process changes the record."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            yield


def _require_whole(name: str, record: RunRecord) -> None:
    if record.withdrawn:
        site = next(iter(record.withdrawn))
        hint = f"`ra-server withdraw '{site}' --retrain '{name}'` trains it again without"
        raise ResumeError(f"{listed(list(record.withdrawn))} withdrew from the run '{name}'", hint)


def _submitted_since(record: RunRecord, known: RunRecord | None) -> bool:
    return known is not None and record.submissions != known.submissions


def _json(path: Path) -> dict[str, Any]:
    with contextlib.suppress(FileNotFoundError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}
