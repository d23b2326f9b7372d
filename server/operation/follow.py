"""Following a run on a terminal: its events as lines and a bar of rounds, until the daemon has noted its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ra_core import errors
from ra_core.daemons.events import read_events
from ra_core.errors import ConnectError, DegradedError, RAError, StoppedError
from server.operation.run_record import End
from server.operation.runs import Run
from server.story.calibration import calibrated
from server.story.fields import Fields
from server.story.story import RunStory

__all__ = ["follow", "line", "raise_unless_complete"]

LOOK_SECONDS = 0.5

DAEMON_SECONDS = 120.0
"""How long a daemon may be away, to be started anew, before following ends."""


def follow(
    run: Run, say: Callable[[str], None], bar: Callable[[int, str], None], daemon_runs: Callable[[], bool]
) -> End:
    """Tell what happens in a run until it has ended.

    Args:
        run: that was submitted.
        say: gets a line for what has happened since it was last submitted.
        bar: is moved by each round; told how many are done, and what goes on.
        daemon_runs: whether there is somebody to keep the run going.

    Raises:
        ConnectError: the daemon has ended and isn't coming back.
        RAError: the run's record is damaged.
    """
    story, seen, offset = RunStory(run.name), time.monotonic(), 0
    while True:
        end = run.record().end  # before its events are read: what was told before the end is told
        told, read = read_events(run.events, offset)
        earlier = 0 if offset else _earlier(told)
        for place, event in enumerate(told):
            story.take(event)
            if text := line(event) if place >= earlier else "":
                say(text)
            bar(story.rounds_done, story.phase)
        offset = read
        if end:
            return end
        if daemon_runs():
            seen = time.monotonic()
        elif time.monotonic() - seen > DAEMON_SECONDS:
            hint = "`ra-server start` takes the run up again; the same command follows it"
            raise ConnectError("the consortium's daemon has ended", hint)
        time.sleep(LOOK_SECONDS)


def line(event: Mapping[str, Any]) -> str:
    """An event in words; "" for those that need none."""
    teller = _LINES.get(str(event.get("event")))
    return teller(Fields(event)) if teller else ""


def raise_unless_complete(name: str, end: End) -> None:
    """Raise what a run has ended with, unless all agreed sites were in all of it.

    Raises:
        DegradedError: it came to its end without a site, for a time.
        StoppedError: the operator has stopped it.
        RAError: of the kind that it failed with.
    """
    why = "; ".join(end.reasons)
    if end.state == "degraded":
        raise DegradedError(f"the run '{name}' is degraded: {why}", "run.json in its folder has the whole record")
    if end.state == "stopped":
        raise StoppedError(f"the run '{name}' was stopped", f"`ra-server resume {name}` goes on")
    if end.state == "failed":
        known = end.kind in errors.__all__
        kind = getattr(errors, end.kind) if known else RAError
        message = why if known else f"{end.kind} in the server's app: {why}"
        raise kind(f"the run '{name}' has failed: {message}", end.hint or "superexec.log in the consortium's folder")


def _earlier(told: Sequence[Mapping[str, Any]]) -> int:
    """How many events were told before the run was last submitted."""
    names = [event["event"] for event in told]
    return len(names) - 1 - names[::-1].index("submitted") if "submitted" in names else 0


def _submitted(event: Fields) -> str:
    again = {"again": "Flower had failed: ", "delivery": "for sites that lack the model: "}.get(event.text("why"), "")
    return f"{again}submitted as Flower's run {event.text('number')}"


def _started(event: Fields) -> str:
    done = event.count("from_round") or 0
    onward = f", going on after round {done}" if done else ""
    return f"started: {event.count('rounds')} rounds with {', '.join(event.names('sites'))}{onward}"


def _waiting(event: Fields) -> str:
    until = event.moment("until")
    return f"waiting for {', '.join(event.names('for'))}" + (f" until {until:%H:%M:%S} UTC" if until else "")


def _joined(event: Fields) -> str:
    declared = event.count("n_declared")
    counts = f": {event.count('n_used')} of {declared} images used" if declared else ", and tells no counts"
    return f"{event.text('site')} has joined{counts}"


def _refused(event: Fields) -> str:
    who = event.text("site") or f"node {event.text('node')}"
    return f"{who} was refused: {event.text('reason')}"


def _answered(event: Fields) -> str:
    metrics = event.part("metrics")
    texts = {"received model": metrics.number("validation_error"), "training": metrics.number("error")}
    figures = [f"{name} {value:.5f}" for name, value in texts.items() if value is not None]
    errors = f": error {', '.join(figures)}" if figures else ""
    return f"{event.text('site')} answered after {event.number('seconds') or 0:.0f} s{errors}"


def _rejected(event: Fields) -> str:
    return f"{event.text('site')} was rejected: {event.text('reason')}"


def _begun(event: Fields) -> str:
    return f"{_exchange(event)}: {', '.join(event.names('asked')) or 'nobody'} asked"


def _done(event: Fields) -> str:
    error = event.number("validation_error")
    missing = [f"{site} ({reason})" for site, reason in event.texts("missing").items()]
    parts = [
        f"{len(event.names('answered'))} answered",
        f"missing: {', '.join(missing)}" if missing else "",
        f"validation error of the received model {error:.5f}" if error is not None else "",
    ]
    return f"{_exchange(event)} is done: {', '.join(part for part in parts if part)}"


def _exchange(event: Fields) -> str:
    return "the closing exchange" if event.flag("closing") else f"round {event.count('round')}"


_LINES: dict[str, Callable[[Fields], str]] = {
    "submitted": _submitted,
    "run_started": _started,
    "waiting": _waiting,
    "joined": _joined,
    "refused": _refused,
    "round_started": _begun,
    "answered": _answered,
    "rejected": _rejected,
    "round_done": _done,
    "calibrating": lambda event: f"the model goes to {', '.join(event.names('asked')) or 'nobody'} to be calibrated",
    "calibrated": calibrated,
    "delivered": lambda event: f"{event.text('site')} has the model",
    "not_delivered": lambda event: f"{event.text('site')} lacks the model: {event.text('reason')}",
}
