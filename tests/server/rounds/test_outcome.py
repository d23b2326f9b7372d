"""A run is completed only on all that was agreed."""

import numpy as np
import pytest

from ra_core.errors import NonFiniteError, QuorumError
from server.rounds.outcome import absences, failed, outcome, shortfalls
from server.rounds.progress import Progress, RoundRecord


def record(number, missing=None, closing=False):
    errors = {"a": {"validation_error": 0.1}}
    return RoundRecord(
        round=number,
        closing=closing,
        asked=("a", "b"),
        answered=("a",),
        missing=missing or {},
        n_images=5,
        validation_error=0.1,
        by_site=errors,
        images={"a": 5},
        files={"a": (9, 9)},
        fingerprints={"a": "f"},
        ledgers={"a": (1, "e" * 64)},
    )


def progress(*records, **changes):
    return Progress({"w": np.zeros(1, np.float32)}, round=len(records) - 1, records=list(records), **changes)


def test_a_run_with_all_sites_in_all_rounds_is_completed():
    end = outcome(progress(record(1), record(2, closing=True), delivered=("a", "b")))
    assert (end.state, end.reasons, end.code) == ("completed", (), 0)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (progress(record(1, {"b": "not connected"}), record(2, closing=True)), "round 1: b: not connected"),
        (progress(record(1), record(2, {"b": "late"}, closing=True)), "round 2: b: late"),
        (progress(record(1), record(2, closing=True), undelivered={"b": "late"}), "delivery: b: late"),
    ],
    ids=["a round", "the closing exchange", "the delivery"],
)
def test_a_site_that_was_missing_anywhere_makes_it_degraded(found, reason):
    end = outcome(found)
    assert (end.state, end.reasons, end.code) == ("degraded", (reason,), 28)


def test_an_error_makes_it_failed_with_the_errors_code():
    end = failed(QuorumError("round 1: nobody came"))
    assert (end.state, end.reasons, end.code) == ("failed", ("round 1: nobody came",), 21)
    assert failed(NonFiniteError("m", "h")).code == 16
    assert (failed(KeyError()).reasons, failed(KeyError()).code) == (("KeyError",), 1)


def test_rounds_of_one_reason_are_told_together():
    rounds = [record(n, {"b": "silent"}) for n in (1, 2, 3, 7)] + [record(5, {"b": "bad"}), record(6)]
    assert absences(rounds) == [("b", "silent", "1–3, 7"), ("b", "bad", "5")]
    assert shortfalls(rounds) == ["rounds 1–3, 7: b: silent", "round 5: b: bad"]
    assert absences([record(6)]) == []
