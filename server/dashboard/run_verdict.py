"""What one run's state comes to, in a line."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from ra_core.words import listed
from server.dashboard.lines import Level, troubles
from server.dashboard.timing import half_over, late, passed, seconds_since, silent_seconds, span
from server.story.standing import OUT, Phase, Standing
from server.story.story import RunStory

__all__ = ["Verdict", "are", "count_sites", "of_run"]

MOST_NAMED = 3
"""Sites, or reasons, that a line names."""

BEGIN_SECONDS = 120.0
"""What a run may take to begin after it was submitted."""

_WAITING = (Phase.STARTING, Phase.JOINING)


@dataclass(frozen=True)
class Verdict:
    """A line and how much it needs a person."""

    level: Level
    text: str


def of_run(run: RunStory, offline: Collection[str], now: datetime) -> Verdict:
    """The gravest that there is to say of a run.

    Args:
        run: in question.
        offline: names of sites that are.
        now: the time.
    """
    if run.phase is Phase.NOT_BEGUN:
        waited = seconds_since(run.heard, now)
        level = Level.LOOK if waited > BEGIN_SECONDS else Level.IDLE
        return Verdict(level, f"Run {run.name} has not begun" + (f", after {span(waited)}" if run.heard else ""))
    if run.phase is Phase.ENDED:
        return _of_end(run)
    quiet = silent_seconds(run, now)
    if quiet is not None:
        return Verdict(Level.WRONG, f"Run {run.name} is silent: nothing heard for {span(quiet)}, {_where(run)}")
    if complaint := _complaint(run, offline, now):
        return Verdict(Level.LOOK, complaint)
    if run.phase in _WAITING:
        return _of_waiting(run, now)
    return _of_work(run)


def _of_work(run: RunStory) -> Verdict:
    if run.troubles:
        first = troubles(run)[0]
        reason = f" ({first.reason})" if first.reason else ""
        text = f"{_where(run, True)} is in order, but {first.who} was missing in {first.when}{reason}"
        return Verdict(Level.LOOK, text)
    return Verdict(Level.GOOD, f"All is well: {_where(run)}, {_answers(run)}")


def _complaint(run: RunStory, offline: Collection[str], now: datetime) -> str:
    """Who is late, out or offline now, or what else is not as it should be; "" where all is."""
    if slow := late(run, now):
        return f"{_named(slow)} {are(len(slow))} late: {passed(run, now)}, {_where(run)}"
    kinds = (Standing.REFUSED,) if run.phase in _WAITING else OUT  # the others may be there again
    if out := [name for name, site in sorted(run.sites.items()) if site.standing in kinds]:
        return f"{_where(run, True)} goes on without {_named([_why(run, name) for name in out])}"
    gone = [name for name in run.agreed if name in offline]
    if gone and run.phase not in _WAITING:
        return f"{_named(gone)} {are(len(gone))} offline, {_where(run)}"
    return f"Run {run.name} went on from the checkpoint before the last: {run.refused}" if run.refused else ""


def _of_end(run: RunStory) -> Verdict:
    done = f"{run.rounds_begun} of {run.rounds or '?'} rounds"
    if run.state == "completed":
        return Verdict(Level.GOOD, f"All is well: run {run.name} completed, {done} with {_all(len(run.agreed))}")
    if run.state == "stopped":
        return Verdict(Level.IDLE, f"Run {run.name} was stopped after {done}")
    why = "; ".join(_few(run.reasons)) or f"no reason was told, after {done}"
    if run.state == "failed":
        code = f" with code {run.code}" if run.code is not None else ""
        return Verdict(Level.WRONG, f"Run {run.name} failed{code}: {why}")
    return Verdict(Level.LOOK, f"Run ended {run.state}: {why} ({run.name})")


def _of_waiting(run: RunStory, now: datetime) -> Verdict:
    if not run.awaited:
        return Verdict(Level.IDLE, f"Run {run.name} is starting with {count_sites(len(run.agreed))}")
    here = f"{len(run.agreed) - len(run.awaited)} of {count_sites(len(run.agreed))} here"
    level = Level.LOOK if run.round or half_over(run, now) else Level.IDLE
    return Verdict(level, f"Waiting for {_named(run.awaited)}: {passed(run, now)}, {here}, {_where(run)}")


def _where(run: RunStory, capital: bool = False) -> str:
    """For example "round 3 of 20", or what else the run is at."""
    if run.closing:
        text = "handing out the model" if run.closed else "closing exchange"
    else:
        text = f"round {run.round} of {run.rounds or '?'}" if run.round else "joining"
    return text[:1].upper() + text[1:] if capital else text


def _answers(run: RunStory) -> str:
    waiting = [name for name in run.agreed if run.site(name).standing is Standing.ASKED]
    total = len(run.agreed)
    if not waiting:
        return f"{_all(total)} answered"
    return f"{total - len(waiting)} of {count_sites(total)} answered, {_named(waiting)} {are(len(waiting))} at work"


def _why(run: RunStory, name: str) -> str:
    site = run.sites[name]
    return f"{name} ({site.reason or site.standing})"


def _named(names: Sequence[str]) -> str:
    return listed(_few(names))


def _few(texts: Collection[str]) -> list[str]:
    more = len(texts) - MOST_NAMED
    return [*list(texts)[:MOST_NAMED], *([f"{more} more"] if more > 0 else [])]


def count_sites(count: int) -> str:
    """For example "3 sites"."""
    return f"{count} site{'' if count == 1 else 's'}"


def _all(count: int) -> str:
    return f"all {count_sites(count)}" if count != 1 else "the one site"


def are(count: int) -> str:
    """The verb for so many."""
    return "is" if count == 1 else "are"
