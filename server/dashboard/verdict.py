"""The one line that tells whether all is well, and the notes below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from server.dashboard.lines import Level
from server.dashboard.processes import DaemonStory
from server.dashboard.run_verdict import Verdict, are, count_sites, of_run
from server.dashboard.timing import seconds_since, silent_seconds, span
from server.dashboard.told import Told
from server.story.story import RunStory

__all__ = ["verdicts"]

RESTART_SECONDS = 60.0
"""What a process may take to be started again before it counts as wrong."""


def verdicts(told: Told, runs: Sequence[RunStory], now: datetime) -> list[Verdict]:
    """All that there is to say, the gravest first; never empty.

    Args:
        told: what the files hold.
        runs: the same as in `told`, the latest first.
        now: the time.
    """
    offline = {name for name, online in told.online.items() if not online}
    over = any(end <= now for end in told.certificates.values())
    found = [of_run(runs[0], offline, now) if runs else _of_registry(told.registry)]
    found += [of_run(run, offline, now) for run in runs[1:] if run.goes_on and silent_seconds(run, now) is None]
    found += _of_daemon(told, any(run.goes_on for run in runs[:1]), now)
    found += [Verdict(Level.WRONG if over else Level.LOOK, text) for text in told.warnings]
    return sorted(found, key=lambda verdict: -verdict.level)


def _of_registry(registry: Mapping[str, str]) -> Verdict:
    admitted = sum(state == "admitted" for state in registry.values())
    return Verdict(Level.IDLE, f"No run yet: {admitted} of {count_sites(len(registry))} {are(admitted)} admitted")


def _of_daemon(told: Told, needed: bool, now: datetime) -> Iterator[Verdict]:
    if told.running:
        yield from _of_processes(told.daemon, now)
    elif told.daemon.heard:
        how = "was stopped" if told.daemon.stopped else "has ended without a word"
        level = Level.WRONG if needed else Level.LOOK
        yield Verdict(level, f"The server's daemon {how}; “ra-server start” starts it again")


def _of_processes(daemon: DaemonStory, now: datetime) -> Iterator[Verdict]:
    for name, process in sorted(daemon.processes.items()):
        if not process.up:
            down = seconds_since(process.since, now)
            code = "" if process.code is None else f" with code {process.code}"
            why = f" ({process.why})" if process.why else ""
            level = Level.WRONG if down > RESTART_SECONDS else Level.LOOK
            yield Verdict(level, f"{name} ended{code} {span(down)} ago and is not back yet{why}")
