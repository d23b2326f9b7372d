"""What the page says of each site and each run: a word, a level, and the reason where there is one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from ra_core.words import ranges
from server.dashboard.timing import passed, silent_seconds, span
from server.story.standing import DELIVERY, JOINING, Phase, SiteStory, Standing, latest
from server.story.story import RunStory

__all__ = ["Level", "RunLine", "SiteLine", "Trouble", "run_line", "site_line", "troubles"]


class Level(IntEnum):
    """How much it needs a person; told in a sign and a word too, never by colour alone."""

    GOOD = 0
    IDLE = 1
    LOOK = 2
    WRONG = 3

    @property
    def sign(self) -> str:
        """One character."""
        return "✓…!✗"[self]

    @property
    def word(self) -> str:
        """For those who don't see the colour, and as its name in the style."""
        return ("good", "waiting", "look", "wrong")[self]


@dataclass(frozen=True)
class SiteLine:
    """A site: how it stands, whether it is online, why, what it brings, and when it was last heard of."""

    name: str
    level: Level
    state: str
    link: str
    reason: str
    files: str
    error: float | None
    heard: datetime | None


@dataclass(frozen=True)
class RunLine:
    """A run in a table."""

    name: str
    level: Level
    state: str
    rounds: str
    best: str
    model_hash: str
    calibration: str
    heard: datetime | None


@dataclass(frozen=True)
class Trouble:
    """Who was not there, when, and why."""

    who: str
    when: str
    reason: str


_STANDINGS = {
    Standing.EXPECTED: (Level.IDLE, "not here yet"),
    Standing.JOINED: (Level.GOOD, "joined"),
    Standing.ASKED: (Level.GOOD, "at work"),
    Standing.ANSWERED: (Level.GOOD, "answered"),
    Standing.MISSING: (Level.LOOK, "missing"),
    Standing.REJECTED: (Level.LOOK, "rejected"),
    Standing.REFUSED: (Level.LOOK, "refused"),
    Standing.DELIVERED: (Level.GOOD, "has the model"),
    Standing.NOT_DELIVERED: (Level.LOOK, "lacks the model"),
}
_AFTER = {
    Standing.EXPECTED: (Level.LOOK, "never came"),
    Standing.JOINED: (Level.GOOD, "took part"),
    Standing.ASKED: (Level.LOOK, "had not answered"),
    Standing.ANSWERED: (Level.GOOD, "took part"),
}
"""Of a run that has ended, where the words differ."""

_REGISTERED = {
    "invited": (Level.IDLE, "not admitted", "its public key has not come yet"),
    "revoked": (Level.LOOK, "revoked", "its key was taken back"),
    "not provisioned": (Level.LOOK, "not provisioned", "it has no kit yet"),
    "damaged": (Level.WRONG, "record damaged", "get its file in the registry back from a backup"),
}
"""States in which a site can't take part."""

_ENDS = {"completed": Level.GOOD, "degraded": Level.LOOK, "failed": Level.WRONG, "stopped": Level.IDLE}


def site_line(
    name: str,
    registered: str,
    online: bool | None,
    run: RunStory | None,
    late: Collection[str],
    now: datetime,
) -> SiteLine:
    """A site as it stands in a run; outside of one, as the registry has it.

    Args:
        name: of the site.
        registered: its state in the registry; "" where it isn't there.
        online: whether it is; None where nobody told.
        run: the latest.
        late: names of those that are.
        now: the time.
    """
    site = run.sites.get(name) if run else None
    if registered in _REGISTERED:
        level, state, reason = _REGISTERED[registered]
    elif not run or not site:
        level, state, reason = Level.GOOD, registered or "unknown", ""
    elif name in late:
        level, state, reason = Level.LOOK, "late", f"no answer for {passed(run, now)}"
    else:
        ended = _AFTER if run.phase is Phase.ENDED else {}
        level, state = ended.get(site.standing, _STANDINGS[site.standing])
        reason = site.reason
    link = {True: "online", False: "offline", None: ""}[online]
    if online is False and run and run.goes_on and level is Level.GOOD:
        level, state, link = Level.LOOK, "offline", f"was: {state}"
    elif online is False:
        level = max(level, Level.IDLE)
    error, heard = (latest(site.validation), site.heard) if site else (None, None)
    return SiteLine(name, level, state, link, reason, _files(site), error, heard)


def _files(site: SiteStory | None) -> str:
    if site is None or site.used is None or not site.declared:  # 0 tells no counts
        return ""
    return f"{site.used:,} of {site.declared:,} files used"


def run_line(run: RunStory, now: datetime) -> RunLine:
    """A run's state, rounds and model."""
    quiet = silent_seconds(run, now)
    if run.phase is Phase.ENDED:
        level, state = _ENDS.get(run.state, Level.LOOK), run.state
    elif quiet is not None:
        level, state = Level.WRONG, f"silent for {span(quiet)}"
    elif run.phase is Phase.NOT_BEGUN:
        level, state = Level.IDLE, str(run.phase)
    else:
        level, state = Level.GOOD, "running"
    best = f"round {run.best_round}" if run.best_round else ""
    return RunLine(run.name, level, state, _rounds(run), best, run.model_hash, run.calibration, run.heard)


def _rounds(run: RunStory) -> str:
    if run.rounds is None:
        return ""
    return f"{run.rounds_begun} of {run.rounds}"


def troubles(run: RunStory) -> list[Trouble]:
    """All who were not there in some round, the latest trouble first."""
    latest = sorted(run.troubles.items(), key=lambda item: -_place(item[1]))
    return [Trouble(who, _when(places, run), reason) for (who, reason), places in latest]


def _place(places: set[int]) -> float:
    return float("inf") if DELIVERY in places else max(places)


def _when(places: set[int], run: RunStory) -> str:
    """For example "joining, rounds 2–3, closing, delivery"."""
    closing = {run.round} & places if run.closing else set()
    numbers = sorted(place for place in places - closing if place > JOINING)
    parts = [
        "joining" if JOINING in places else "",
        f"round{'s' if len(numbers) > 1 else ''} {ranges(numbers)}" if numbers else "",
        "closing" if closing else "",
        "delivery" if DELIVERY in places else "",
    ]
    return ", ".join(part for part in parts if part)
