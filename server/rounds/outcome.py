"""What became of a run, as a pure function of its records: completed only on all that was agreed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ra_core.errors import DegradedError, RAError
from ra_core.words import ranges
from server.rounds.progress import Progress, RoundRecord

__all__ = ["Outcome", "State", "absences", "failed", "outcome", "shortfalls"]

State = Literal["running", "completed", "degraded", "failed", "stopped"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        state: completed: every agreed site was in every round and has the model; degraded: the run came to its end, but
            not with all of them; failed: an error ended it. That an operator has stopped it, the daemon knows.
        reasons: who was missing, in which rounds and why; or the error.
        code: exit code.
    """

    state: State
    reasons: tuple[str, ...]
    code: int


def outcome(progress: Progress) -> Outcome:
    """Of a run that came to its end."""
    lacking = shortfalls(progress.records)
    lacking += [f"delivery: {site}: {why}" for site, why in sorted(progress.undelivered.items())]
    if lacking:
        return Outcome("degraded", tuple(lacking), DegradedError.exit_code)
    return Outcome("completed", (), 0)


def failed(error: Exception) -> Outcome:
    """Of a run that an error has ended."""
    code = error.exit_code if isinstance(error, RAError) else RAError.exit_code
    return Outcome("failed", (str(error) or type(error).__name__,), code)


def shortfalls(records: Sequence[RoundRecord]) -> list[str]:
    """Who gave no answer that counts, one line a site and reason: "round 3: berta: not connected"."""
    return [
        f"{'round' if numbers.isdigit() else 'rounds'} {numbers}: {who}: {why}"
        for who, why, numbers in absences(records)
    ]


def absences(records: Sequence[RoundRecord]) -> list[tuple[str, str, str]]:
    """Who gave no answer that counts: (site, reason, rounds), in order of their first time."""
    found: dict[tuple[str, str], list[int]] = {}
    for record in records:
        for who, why in sorted(record.missing.items()):
            found.setdefault((who, why), []).append(record.round)
    return [(who, why, ranges(numbers)) for (who, why), numbers in found.items()]
