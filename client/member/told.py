"""The daemon's events in plain words. They hold no path and no patient, so that anybody may look over a shoulder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ra_core.words import printable

__all__ = ["line", "trouble_of"]

Event = Mapping[str, Any]


def line(event: Event) -> str:
    """One line for people; "" where there is nothing to say.

    Args:
        event: as `daemon.jsonl` has it.
    """
    words = _WORDS.get(event["event"])
    return printable(words(event)) if words else ""


def trouble_of(events: Sequence[Event]) -> str:
    """Why a running daemon isn't connected, in plain words; "" where it is."""
    for event in reversed(events):
        if event["event"] in ("connected", "found"):
            return ""
        if event["event"] in ("waiting", "lost"):
            return str(event["why"])
    return "it hasn't tried yet"


def _waiting(event: Event) -> str:
    hint = f" ({event['hint']})" if event["hint"] else ""
    return f"not connected: {event['why']}{hint}; it is tried again and again"


def _exited(event: Event) -> str:
    return f"the connection's process ended; it starts again in {event['restart_in']:.0f} s"


def _refused(event: Event) -> str:
    bundle = event["bundle"]
    if event["reason"]:
        return f"an app bundle was refused, as the list of allowed ones is no good: {event['reason']}"
    return (
        f"an app bundle was refused: {bundle}. If the operator tells you this number on another way, "
        f"`ra-client allow {bundle}` lets it run"
    )


def _answered(event: Event) -> str:
    what = _what(event)
    return f"{what} failed: {event['error']}" if event["error"] else f"{what}: answered in {event['seconds']:.0f} s"


def _what(event: Event) -> str:
    """A message by its type and label, which are the server's: nothing else of them is shown."""
    kind, label = event.get("type"), str(event.get("round", ""))
    if kind in ("train", "train.masked"):
        known = label.isascii() and label.isdecimal() and len(label) < 7
        return f"round {label}" if known else "the closing exchange" if label == "closing" else "a round"
    others = {
        "query": "joining the run",
        "query.stage": "secure aggregation",
        "query.histogram": "telling how healthy patients score",
        "query.check": "counting healthy patients above thresholds",
        "query.deliver": "receiving the model",
    }
    return others.get(str(kind), "a message")


_WORDS: dict[str, Callable[[Event], str]] = {
    "waiting": _waiting,
    "exited": _exited,
    "hung": lambda _: "the connection's process hangs; it is started again",
    "connected": lambda event: f"connected to the server as node {event['node']}; waiting for work",
    "lost": lambda event: f"the server can't be reached: {event['why']}; it is tried again and again",
    "found": lambda event: f"the server is back after {event['seconds']:.0f} s",
    "bundle_refused": _refused,
    "bundle_allowed": lambda event: f"a run begins with the allowed app bundle {event['bundle'][:16]}…",
    "received": lambda event: f"{_what(event)}: begun",
    "answered": _answered,
    "withheld": lambda event: f"stayed here: {event['why']}",
    "model_received": lambda event: f"model {event['model_hash'][:16]} received; `ra-client models` lists it",
    "daemon_stopped": lambda _: "stopped",
}
