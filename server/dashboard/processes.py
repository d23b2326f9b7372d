"""What the server's daemon tells: of the processes that it keeps alive, of who is online, of what it did."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from server.story.fields import Fields

__all__ = ["DaemonStory", "ProcessStory"]

MOST_NAMES = 1000
"""Processes, or sites, that are kept."""

MOST_DEEDS = 12
"""Events that are kept in words, the latest."""

_DEEDS: dict[str, Callable[[Fields], str]] = {
    "daemon_started": lambda _: "the daemon started",
    "daemon_stopped": lambda _: "the daemon was stopped",
    "started": lambda fields: f"{fields.text('process')} started",
    "exited": lambda fields: f"{fields.text('process')} ended with code {_told(fields.whole('code'))}",
    "hung": lambda fields: f"{fields.text('process')} hung and was ended",
    "site_online": lambda fields: f"{fields.text('site')} came online",
    "site_offline": lambda fields: f"{fields.text('site')} went offline",
    "resubmitted": lambda fields: f"run {fields.text('run')} was started again: {fields.text('why')}",
    "run_ended": lambda fields: f"run {fields.text('run')} ended {fields.text('state')}",
    "pending": lambda fields: f"run {fields.text('run')} waited too long: the executor was started again",
    "trouble": lambda fields: f"trouble: {fields.text('what')}",
}


@dataclass
class ProcessStory:
    """One process: whether it runs, since when, how often it was started, and how it ended the last time."""

    up: bool = False
    since: datetime | None = None
    starts: int = 0
    code: int | None = None
    why: str = ""


@dataclass
class DaemonStory:
    """The server's daemon so far.

    Attributes:
        heard: its last event.
        stopped: whether it said that it was stopped.
        processes: by name, those of its last start.
        online: whether a site is online, of those that were told since its last start.
        deeds: what it did, in words, the latest last.
    """

    heard: datetime | None = None
    stopped: bool = False
    processes: dict[str, ProcessStory] = field(default_factory=dict)
    online: dict[str, bool] = field(default_factory=dict)
    deeds: deque[tuple[datetime | None, str]] = field(default_factory=lambda: deque(maxlen=MOST_DEEDS))

    def take(self, event: Mapping[str, Any]) -> None:
        """Add one line; whatever it holds, nothing fails."""
        fields = Fields(event)
        self.heard = fields.moment("time") or self.heard
        kind = fields.text("event")
        if kind in _DEEDS:
            self.deeds.append((self.heard, _DEEDS[kind](fields)))
        if kind in ("daemon_started", "daemon_stopped"):
            self.stopped = kind == "daemon_stopped"
            self.processes, self.online = {}, {}
        elif kind in ("started", "exited"):
            self._note_process(fields, kind == "started")
        elif kind in ("site_online", "site_offline"):
            name = fields.text("site")
            if name in self.online or len(self.online) < MOST_NAMES:
                self.online[name] = kind == "site_online"

    def _note_process(self, fields: Fields, up: bool) -> None:
        name = fields.text("process")
        if name not in self.processes and len(self.processes) >= MOST_NAMES:
            return
        process = self.processes.setdefault(name, ProcessStory())
        process.up, process.since = up, self.heard
        process.starts += up
        if not up:
            process.code, process.why = fields.whole("code"), fields.text("why")


def _told(code: int | None) -> str:
    return "?" if code is None else str(code)
