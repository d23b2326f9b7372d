"""What follows from what Flower says of a run, from its result and from its failure: pure functions."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Collection, Mapping
from typing import Any

from server.flower import RunState
from server.operation.run_record import STOPPED, End, RunRecord, Submission

__all__ = ["delivery_due", "end_of", "given_up", "pause"]

TRIES = 5
"""How often a run that Flower has failed is started again without a round in between."""

SHORTEST, LONGEST = 5.0, 300.0
"""Pauses in seconds before a run is started again; each is twice the one before."""

DELIVERY_SHORTEST, DELIVERY_LONGEST = 300.0, 6 * 3600.0
"""Likewise, before the model is offered again to sites that lack it."""


def end_of(state: RunState, result: Mapping[str, Any], failure: Mapping[str, Any]) -> End | None:
    """How a run has ended that Flower calls finished; None where only Flower failed, so that it can go on.

    Args:
        state: what Flower says.
        result: `run.json` of the server's app.
        failure: what ended the app early; empty where nothing did.
    """
    if state.status == "finished:stopped":
        return STOPPED
    if failure and not _of_flower(failure):
        kind, message, hint = (str(failure.get(name, "")) for name in ("kind", "message", "hint"))
        return End(state="failed", reasons=(message or kind,), kind=kind, hint=hint)
    return {
        "completed": End(state="completed"),
        "degraded": End(state="degraded", reasons=_texts(result.get("reasons")), kind="DegradedError"),
    }.get(str(result.get("state")))


def given_up(record: RunRecord, rounds_done: int, state: RunState) -> End | None:
    """The end of a run that Flower has failed time and again without a round; None where another try is due.

    Args:
        record: of the run.
        rounds_done: how many rounds are behind it now.
        state: what Flower says of the last try.
    """
    if _tries(record, rounds_done) < TRIES:
        return None
    why = f"Flower has failed {TRIES + 1} times without a round in between: {state.details or state.status}"
    hint = "superlink.log and superexec.log in the consortium's folder; then `ra-server resume`"
    return End(state="failed", reasons=(why,), kind="FlowerError", hint=hint)


def pause(record: RunRecord, rounds_done: int) -> float:
    """Seconds between a failure of Flower and the next try."""
    return min(SHORTEST * 2.0 ** _tries(record, rounds_done), LONGEST)


def delivery_due(
    record: RunRecord, lacking: Collection[str], online_since: Mapping[str, str], now: dt.datetime
) -> bool:
    """Whether an ended run should be started once more, to hand out its model.

    Args:
        record: of the run.
        lacking: sites that don't have the model.
        online_since: since when each site is online, as the registry writes times; those that aren't are left out.
        now: the time.
    """
    there = [online_since[site] for site in lacking if site in online_since]
    if not there or record.end is None or record.end.state not in ("completed", "degraded"):
        return False
    last = record.submissions[-1]
    age = (now - dt.datetime.fromisoformat(last.when)).total_seconds()
    if max(there) > last.when:  # it has come since
        return age > DELIVERY_SHORTEST
    tries = _trailing(record, lambda one: one.why == "delivery")
    return age > min(DELIVERY_SHORTEST * 2.0**tries, DELIVERY_LONGEST)


def _of_flower(failure: Mapping[str, Any]) -> bool:
    """Whether the app has ended because the SuperLink was away for too long: Flower's own error, or of its network."""
    return str(failure.get("module", "")).partition(".")[0] in ("flwr", "grpc", "httpcore", "httpx")


def _tries(record: RunRecord, rounds_done: int) -> int:
    """How many tries in a row were made since the last round."""
    return _trailing(record, lambda one: one.why == "again" and one.rounds_done == rounds_done)


def _trailing(record: RunRecord, kind: Callable[[Submission], bool]) -> int:
    """How many of a kind are the last in a row."""
    return len(list(itertools.takewhile(kind, reversed(record.submissions))))


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(str(text) for text in found) if isinstance(found, list) else ()
