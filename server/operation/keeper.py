"""What the daemon does beside keeping processes up: it sees who is online, and keeps runs going to their end."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ra_core.daemons.events import Events
from ra_core.errors import FlowerError, RAError
from server.consortium import Consortium
from server.flower import Flower, NodeState, RunState
from server.operation.run_record import RunRecord, Why
from server.operation.runs import Run
from server.operation.verdict import delivery_due, end_of, given_up, pause
from server.provisioning.registry import load_sites
from server.story.log import Log
from server.story.standing import Phase
from server.story.story import RunStory

__all__ = ["Figures", "Keeper", "online_since"]

LOOK_SECONDS = 2.0
STATUS_SECONDS = 5.0
NODES_SECONDS = 5.0
"""Pauses between two looks at files, and between two questions to Flower."""

PENDING_SECONDS = 60.0
"""A run that waits longer for the executor, while no other runs, means that the executor is stuck."""


@dataclass(frozen=True)
class Figures:
    """What is known now, for whoever asks.

    Attributes:
        online: whether each admitted site is online; empty before Flower has been asked.
        stories: of all runs, by name; of each, what its events have told.
    """

    online: Mapping[str, bool] = field(default_factory=dict)
    stories: Mapping[str, RunStory] = field(default_factory=dict)


@dataclass
class _Watched:
    """A run's events so far, and when Flower was last asked about it."""

    log: Log[RunStory]
    asked: float = -STATUS_SECONDS
    ended_told: bool = False
    failed_at: float | None = None


def online_since(consortium: Consortium, nodes: list[NodeState]) -> dict[str, str]:
    """Since when each site is online, as the registry writes times; those that aren't are left out.

    Raises:
        ConfigError: a file of the registry is damaged.
    """
    times = {int(node.node): node.online_at.replace(" ", "T") for node in nodes if node.status == "online"}
    sites = load_sites(consortium).values()
    return {site.name: times[site.node_id] for site in sites if site.state == "admitted" and site.node_id in times}


class Keeper:
    """Looks after runs and sites in a thread of its own, for as long as `looking` is open.

    Args:
        consortium: whose.
        flower: control commands.
        events: where it is told: `site_online`, `site_offline`, `resubmitted`, `run_ended`, `pending`, `trouble`.
        reachable: whether the SuperLink serves; while it is being restarted, nothing is asked.

    Attributes:
        figures: the last known, replaced whole.
        executor_stuck: set when the executor has to be restarted; whoever does it clears it.
    """

    def __init__(
        self, consortium: Consortium, flower: Flower, events: Events, reachable: Callable[[], bool] = lambda: True
    ) -> None:
        self.consortium, self.flower, self.events, self.reachable = consortium, flower, events, reachable
        self.figures = Figures()
        self.executor_stuck = threading.Event()
        self._online: dict[str, str] | None = None
        self._nodes_asked = -NODES_SECONDS
        self._unstuck = -PENDING_SECONDS
        self._runs: dict[str, _Watched] = {}
        self._trouble = ""
        self._fault: Exception | None = None

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Within, it looks."""
        ended = threading.Event()
        thread = threading.Thread(target=self._look_until, args=(ended,), name="keeper", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def check(self) -> None:
        """Raise what has ended the thread, if anything has: a daemon that looks after nothing must not seem well."""
        if self._fault is not None:
            raise self._fault

    def look(self) -> None:
        """One look at all sites and runs.

        Raises:
            RAError: Flower can't be reached, or a record is damaged.
            OSError: the folder can't be written.
        """
        try:
            self._look_at_sites()
            self._look_at_runs()
        finally:
            online = {} if self._online is None else self._admitted()
            self.figures = Figures(online, {name: watched.log.story for name, watched in self._runs.items()})

    def _look_until(self, ended: threading.Event) -> None:
        while not ended.wait(LOOK_SECONDS):
            try:
                if self.reachable():
                    self.look()
                    self._trouble = ""
            except (RAError, OSError) as error:  # a disk is full, a file is damaged, Flower fails
                self._tell_trouble(str(error))
            except Exception as error:
                self._fault = error
                return

    def _tell_trouble(self, what: str) -> None:
        """Once, as soon as it can be told: the disk that is full may be the one that events are written to."""
        if what != self._trouble:
            with contextlib.suppress(OSError):
                self.events.tell("trouble", what=what)
                self._trouble = what

    def _admitted(self) -> dict[str, bool]:
        sites = load_sites(self.consortium).values()
        return {site.name: site.name in (self._online or {}) for site in sites if site.state == "admitted"}

    def _look_at_sites(self) -> None:
        if time.monotonic() - self._nodes_asked < NODES_SECONDS:
            return
        self._nodes_asked = time.monotonic()
        before, self._online = self._online or {}, online_since(self.consortium, self.flower.nodes())
        for site in sorted(self._online.keys() - before.keys()):
            self.events.tell("site_online", site=site)
        for site in sorted(before.keys() - self._online.keys()):
            self.events.tell("site_offline", site=site)

    def _look_at_runs(self) -> None:
        """All of them, whatever is wrong with one."""
        troubles: list[RAError | OSError] = []
        for run in Run.all(self.consortium):
            try:
                self._look_at(run)
            except (RAError, OSError) as error:
                troubles.append(error)
        if troubles:
            raise troubles[0]

    def _look_at(self, run: Run) -> None:
        watched = self._runs.setdefault(run.name, _Watched(Log(run.events, RunStory(run.name))))
        watched.log.follow()
        record = run.record()
        if record.end is not None:
            self._deliver(run, record)
        elif record.submissions:
            self._attend(run, record, watched)

    def _deliver(self, run: Run, record: RunRecord) -> None:
        lacking = [str(site) for site in run.result().get("undelivered") or ()]
        if (
            lacking
            and not record.withdrawn
            and delivery_due(record, lacking, self._online or {}, dt.datetime.now(dt.UTC))
        ):
            self._submit(run, record, "delivery", f"{', '.join(lacking)}: without the model so far")

    def _attend(self, run: Run, record: RunRecord, watched: _Watched) -> None:
        """A run that goes on, as far as is known."""
        ended_told = watched.log.story.phase is Phase.ENDED
        just_ended = ended_told and not watched.ended_told
        watched.ended_told = ended_told
        if not just_ended and time.monotonic() - watched.asked < STATUS_SECONDS:
            return
        watched.asked = time.monotonic()
        state = self._status(record)
        if not state.finished:
            watched.failed_at = None
            self._look_at_queue(run, record, state)
        elif end := end_of(state, run.result(), run.failure()) or given_up(record, run.rounds_done(), state):
            if run.close(end, record):
                self.events.tell("run_ended", run=run.name, state=end.state, reasons=list(end.reasons))
        else:
            self._start_again(run, record, watched, state)

    def _status(self, record: RunRecord) -> RunState:
        """What Flower says of the last submission; failed where its database has lost it."""
        try:
            return self.flower.status(record.submissions[-1].number)
        except FlowerError:
            self.flower.nodes()  # raises where the SuperLink can't be reached
            return RunState("finished:failed", "Flower's database doesn't know the run", "")

    def _look_at_queue(self, run: Run, record: RunRecord, state: RunState) -> None:
        waited = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(record.submissions[-1].when)
        others = [story for name, story in self.figures.stories.items() if name != run.name]
        if state.status != "pending" or waited.total_seconds() < PENDING_SECONDS or any(map(_at_work, others)):
            return
        if time.monotonic() - self._unstuck > PENDING_SECONDS:  # a restarted executor gets time to take it
            self._unstuck = time.monotonic()
            self.events.tell("pending", run=run.name, seconds=round(waited.total_seconds()))
            self.executor_stuck.set()

    def _start_again(self, run: Run, record: RunRecord, watched: _Watched, state: RunState) -> None:
        now = time.monotonic()
        watched.failed_at = now if watched.failed_at is None else watched.failed_at
        if now - watched.failed_at < pause(record, run.rounds_done()):
            return
        watched.failed_at = None
        self._submit(run, record, "again", f"Flower has failed: {state.details or state.status}")

    def _submit(self, run: Run, record: RunRecord, why: Why, told: str) -> None:
        if run.submit(self.flower, why, record):
            self.events.tell("resubmitted", run=run.name, why=told)


def _at_work(story: RunStory) -> bool:
    return story.phase not in (Phase.NOT_BEGUN, Phase.ENDED)
