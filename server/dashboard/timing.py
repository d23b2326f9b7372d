"""What is late and what is silent: the judgements that hang on the time of day."""

from __future__ import annotations

from datetime import datetime

from server.story.standing import Phase, Standing
from server.story.story import RunStory

__all__ = ["half_over", "late", "passed", "seconds_since", "silent_seconds", "span"]

LATE_FACTOR = 2.0
"""A site is late once it takes so many times as long as the slowest answer of the run so far."""

LATE_SHARE = 0.5
"""Or once so much of the time until the deadline is over."""

LEAST_SECONDS = 30.0
"""Nobody is late so soon."""

GRACE_SECONDS = 120.0
"""What a run gets after a deadline before it is taken for silent."""

SILENT_SECONDS = 900.0
"""A run that told no deadline is taken for silent after so long, or after the time that its last exchange had."""


def seconds_since(moment: datetime | None, now: datetime) -> float:
    """Seconds that have passed; 0 where the moment is not known or not yet there."""
    return max(0.0, (now - moment).total_seconds()) if moment else 0.0


def span(seconds: float) -> str:
    """Roughly how long: 40 s, 12 min, 5 h, 3 days."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def passed(run: RunStory, now: datetime) -> str:
    """How much of the time until the deadline is over: "12 min of 60"; without a deadline, "12 min"."""
    gone, whole = seconds_since(run.since, now), _allowed(run)
    if not whole:
        return span(gone)
    size, unit = next(((s, u) for s, u in ((3600, "h"), (60, "min")) if whole >= 2 * s), (1, "s"))
    digits = 1 if unit == "h" else 0
    return f"{gone / size:.{digits}f} {unit} of {whole / size:.{digits}f}"


def late(run: RunStory, now: datetime) -> list[str]:
    """Sites that were asked, have not answered, and take longer than the others' answers lead to expect."""
    gone = seconds_since(run.since, now)
    if run.phase is not Phase.ROUND or gone < LEAST_SECONDS:
        return []
    slow = run.slowest is not None and gone > LATE_FACTOR * run.slowest
    if not slow and not half_over(run, now):
        return []
    return sorted(name for name, site in run.sites.items() if site.standing is Standing.ASKED)


def half_over(run: RunStory, now: datetime) -> bool:
    """Whether much of the time until the deadline is over."""
    whole = _allowed(run)
    return whole > 0 and seconds_since(run.since, now) > LATE_SHARE * whole


def silent_seconds(run: RunStory, now: datetime) -> float | None:
    """How long a run that goes on has told nothing, where that is longer than it can be; else None."""
    if not run.goes_on:
        return None
    quiet = seconds_since(run.heard, now)
    longest = max(SILENT_SECONDS, run.allowance + GRACE_SECONDS)
    over = seconds_since(run.until, now) > GRACE_SECONDS if run.until else quiet > longest
    return quiet if over and quiet > GRACE_SECONDS else None


def _allowed(run: RunStory) -> float:
    """Seconds between the phase's beginning and its deadline; 0 where there is none."""
    return max(0.0, (run.until - run.since).total_seconds()) if run.since and run.until else 0.0
