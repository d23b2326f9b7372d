import pytest
from consortia import FakeFlower, tell, write_consortium
from hypothesis import given, settings
from hypothesis import strategies as st

from ra_core.config import StudyConfig
from ra_core.errors import ConnectError, DegradedError, QuorumError, RAError, StoppedError
from server.operation import follow as module
from server.operation.follow import follow, line, raise_unless_complete
from server.operation.run_record import End
from server.operation.runs import Run

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=6,
)


@pytest.fixture
def run(tmp_path):
    run = Run(write_consortium(tmp_path), "study")
    run.agree(StudyConfig(), ["anna", "berta"])
    return run


def a_run_of_two_rounds(run):
    tell(run, "run_started", run="study", sites=["anna", "berta"], rounds=2, from_round=0)
    tell(run, "waiting", **{"for": ["anna", "berta"]}, until="2026-01-02T03:04:05Z")
    tell(run, "joined", site="anna", n_images=12, n_used=12, n_declared=14)
    tell(run, "refused", site="berta", reason="VersionError at berta")
    tell(run, "round_started", round=1, closing=False, asked=["anna", "berta"])
    tell(run, "answered", round=1, site="anna", seconds=3.2, metrics={"validation_error": 0.25, "error": 0.5})
    tell(run, "rejected", round=1, site="berta", reason="NaN in decoder.weight")
    tell(run, "round_done", round=1, answered=["anna"], missing={"berta": "NaN"}, validation_error=0.25)
    tell(run, "round_started", round=2, closing=False, asked=["anna"])
    tell(run, "round_done", round=2, answered=["anna"], missing={}, validation_error=None)
    tell(run, "round_started", round=3, closing=True, asked=["anna"])
    tell(run, "round_done", round=3, closing=True, answered=["anna"], missing={})
    tell(run, "calibrating", asked=["anna", "berta"])
    tell(run, "calibrated", rate=0.05, achieved={"anna": "1 of 40 above"}, absent={"berta": "not connected"})
    tell(run, "delivered", site="anna", model_hash="ab")
    tell(run, "not_delivered", site="berta", reason="not connected")


def test_rounds_errors_and_reasons_are_told_since_the_last_start(run):
    tell(run, "round_done", round=1, answered=["of an earlier start"])
    run.submit(FakeFlower(), "asked")
    a_run_of_two_rounds(run)
    run.close(End(state="degraded"))
    lines, moves = [], []
    assert follow(run, lines.append, lambda *now: moves.append(now), lambda: True).state == "degraded"
    assert lines == [
        "submitted as Flower's run 1",
        "started: 2 rounds with anna, berta",
        "waiting for anna, berta until 03:04:05 UTC",
        "anna has joined: 12 of 14 images used",
        "berta was refused: VersionError at berta",
        "round 1: anna, berta asked",
        "anna answered after 3 s: error received model 0.25000, training 0.50000",
        "berta was rejected: NaN in decoder.weight",
        "round 1 is done: 1 answered, missing: berta (NaN), validation error of the received model 0.25000",
        "round 2: anna asked",
        "round 2 is done: 1 answered",
        "the closing exchange: anna asked",
        "the closing exchange is done: 1 answered",
        "the model goes to anna, berta to be calibrated",
        "calibrated at 5 % false alarms: anna 1 of 40 above; without berta (not connected)",
        "anna has the model",
        "berta lacks the model: not connected",
    ]
    assert moves[-1][0] == 2


def test_without_a_daemon_nobody_waits_for_ever(run, monkeypatch):
    run.submit(FakeFlower(), "asked")
    monkeypatch.setattr(module, "DAEMON_SECONDS", 0.0)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    with pytest.raises(ConnectError, match="daemon has ended"):
        follow(run, print, lambda *_: None, lambda: False)


FIELDS = st.sampled_from(["round", "site", "sites", "for", "until", "metrics", "missing", "reason", "node"])


@settings(deadline=None)
@given(event=st.dictionaries(FIELDS, ANYTHING), kind=st.sampled_from(sorted(module._LINES)))
def test_whatever_an_event_holds_a_line_comes_of_it(event, kind):
    text = line(event | {"event": kind})
    assert "\n" not in text
    assert "\x1b" not in text


def test_the_end_becomes_the_error_of_its_kind():
    raise_unless_complete("a", End(state="completed"))
    with pytest.raises(DegradedError, match="'a' is degraded: round 2: berta: late"):
        raise_unless_complete("a", End(state="degraded", reasons=("round 2: berta: late",)))
    with pytest.raises(StoppedError):
        raise_unless_complete("a", End(state="stopped"))
    with pytest.raises(QuorumError, match="1 of 2") as caught:
        raise_unless_complete("a", End(state="failed", reasons=("1 of 2",), kind="QuorumError", hint="mend"))
    assert caught.value.hint == "mend"
    with pytest.raises(RAError, match="OSError in the server's app: disk full") as fault:
        raise_unless_complete("a", End(state="failed", reasons=("disk full",), kind="OSError"))
    assert fault.value.exit_code == 1
