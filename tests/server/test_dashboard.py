"""The page that tells whether all is well: what it says of every turn of a run, and what its server refuses."""

import base64
import hashlib
import http.client
import json
import re
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from admissions import write_consortium
from calibrations import calibration
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ra_core.daemons.events import Events
from ra_core.errors import ConfigError
from ra_core.thresholds.told import told_of_all
from server.dashboard.calibration import calibration_view
from server.dashboard.chart import chart
from server.dashboard.files import ConsortiumFiles
from server.dashboard.html import render
from server.dashboard.lines import Level
from server.dashboard.processes import DaemonStory
from server.dashboard.serve import DashboardServer, serve
from server.dashboard.state import page
from server.dashboard.timing import span
from server.dashboard.told import Told
from server.provisioning.provision import provision
from server.story.story import RunStory

START = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
SITES = ["hospital-a", "hospital-b", "hospital-c"]
BAD = "<script>alert('x')</script>\u202e\ud800&"
HASH = "3f9a" * 16


def at(minutes):
    return (START + timedelta(minutes=minutes)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(minutes, kind, **fields):
    return {"time": at(minutes), "event": kind} | fields


def started(minutes=0, from_round=0):
    return event(minutes, "run_started", run="brain", study_digest="d", sites=SITES, rounds=20, from_round=from_round)


def joined(minutes=1, sites=SITES):
    counts = {"n_images": 1200, "n_used": 1250, "n_declared": 1300}
    return [event(minutes, "joined", site=site, **counts) for site in sites]


def asked(number, minutes, sites=SITES, closing=False):
    until = at(minutes + 60)
    return event(minutes, "round_started", round=number, closing=closing, asked=sites, until=until)


def answered(number, minutes, *sites, seconds=60.0):
    metrics = {"validation_error": 0.5 / number, "error": 0.4 / number}
    return [event(minutes, "answered", round=number, site=site, seconds=seconds, metrics=metrics) for site in sites]


def done(number, minutes, missing=None, closing=False):
    fields = {"answered": [], "missing": missing or {}, "validation_error": 0.5 / number, "model_hash": HASH}
    return event(minutes, "round_done", round=number, closing=closing, best_round=number - 1, seconds=60.0, **fields)


def whole(number, minutes, closing=False):
    there = [asked(number, minutes, closing=closing), *answered(number, minutes + 1, *SITES)]
    return [*there, done(number, minutes + 1, closing=closing)]


def ended(minutes, state, *reasons, code=0):
    return event(minutes, "run_ended", state=state, reasons=list(reasons), code=code, model_hash=HASH, best_round=19)


def story(events, name="brain"):
    found = RunStory(name)
    for one in events:
        found.take(one)
    return found


def daemon(events):
    found = DaemonStory()
    for one in events:
        found.take(one)
    return found


def view(
    events,
    minutes,
    *,
    registry=None,
    processes=(),
    running=True,
    certificates=None,
    warnings=(),
    others=(),
    calibration=None,
):
    """The page so many minutes after the start."""
    told = Told(
        title="Lung consortium",
        registry=dict.fromkeys(SITES, "admitted") if registry is None else registry,
        runs=[*([story(events)] if events else []), *others],
        daemon=daemon(processes),
        running=running,
        certificates=certificates or {},
        warnings=warnings,
        calibration=calibration,
    )
    return page(told, START + timedelta(minutes=minutes))


def site(found, name="hospital-b"):
    return next(line for line in found.sites if line.name == name)


BEGUN = [started(), *joined(), *whole(1, 2), *whole(2, 4)]
ALL_20 = [started(), *joined(), *(turn for number in range(1, 21) for turn in whole(number, 2 * number))]
WAITING = event(0, "waiting", **{"for": SITES, "until": at(10)})
CALIBRATED = event(50, "calibrated", rate=0.05, achieved={"hospital-a": "1 of 40 above"}, absent={"hospital-b": BAD})


def test_how_a_run_was_calibrated_is_told_in_a_line():
    found = view([*ALL_20, *whole(21, 44, closing=True), CALIBRATED], 51)
    assert found.run.calibration.startswith(
        "calibrated at 5 % false alarms: hospital-a 1 of 40 above; without hospital-b"
    )
    html = render(found, 5).decode()
    assert "hospital-a 1 of 40 above" in html
    assert "<script>alert" not in html
    assert "calibrated" not in render(view(ALL_20, 51), 5).decode()


FOUND = calibration({"hospital-a": (40, 1, 30), "hospital-c": (12, 6, 0), "hospital-d": (3, 0, 5)}, {"hospital-b": BAD})


def test_what_the_card_says_of_thresholds_is_a_table_of_all_sites():
    found = view([*ALL_20, CALIBRATED], 51, calibration=FOUND).calibration
    lines = {line.name: line for line in found.sites}
    assert list(lines) == ["hospital-a", "hospital-b", "hospital-c", "hospital-d"]
    (first, *_), whole = FOUND.sites, lines["hospital-a"]
    assert (whole.patients, whole.notes) == ("40", ())
    assert whole.threshold == (f"{first.shrunken:.4g}", f"its own: {first.local.value:.4g}")
    assert whole.above == ("1 of 40", "2.5 % (0.063 % to 13 %)")
    (auroc,) = (f.number for f in FOUND.figures if (f.metric, f.where) == ("auroc", "hospital-a"))
    assert whole.auroc == (f"{auroc.value:.2f}", f"{auroc.low:.2f} to {auroc.high:.2f}")
    assert (
        found.measured[1]
        == f"one threshold for all sites would be {FOUND.reference.pooled:.4g}, from 52 patients of 2 sites"
    )
    assert list(found.figures) == list(told_of_all(FOUND))[1:]


def test_what_a_site_lacks_is_told_beside_it():
    found = view([*ALL_20, CALIBRATED], 51, calibration=FOUND).calibration
    _, absent, one_class, few = found.sites
    assert (absent.patients, absent.threshold, absent.above, absent.auroc) == ("", ("", ""), ("", ""), ("", ""))
    assert absent.notes == ("<script>alert('x')</script>??&",)
    assert one_class.notes == (
        "more above than the 5 % asked",
        "its own threshold: not enough patients: 12 of 19 needed",
        "AUROC: not estimable: no anomalous patients",
    )
    assert (one_class.threshold[1], one_class.auroc) == ("", ("", ""))
    assert (few.threshold, few.above) == (("none", ""), ("", ""))


def test_rates_that_lack_hide_no_other_note():
    lacking = FOUND.model_copy(update={"absent": {"hospital-c": "no rates of local, pooled: its policy"}})
    line = calibration_view(lacking).sites[1]
    assert line.notes[-2:] == ("no rates of local, pooled: its policy", "AUROC: not estimable: no anomalous patients")


def test_the_table_stands_on_the_page_where_there_is_one_and_else_the_line():
    html = render(view([*ALL_20, CALIBRATED], 51, calibration=FOUND), 5).decode()
    assert "2.5 % (0.063 % to 13 %)" in html
    assert "calibrated at 5 %" not in html
    assert "<script>alert" not in html
    nobody = render(view([*ALL_20, CALIBRATED], 51, calibration=calibration({}, {"hospital-a": "late"})), 5).decode()
    assert "late" in nobody
    assert "Thresholds" not in render(view([*ALL_20, CALIBRATED], 51), 5).decode()


VERDICTS = {
    "no run": ([], 0, Level.IDLE, "No run yet: 3 of 3 sites are admitted"),
    "submitted": ([event(0, "submitted", run="brain")], 1, Level.IDLE, "Run brain has not begun, after 60 s"),
    "not taken up": ([event(0, "submitted", run="brain")], 5, Level.LOOK, "Run brain has not begun, after 5 min"),
    "failed at once": (
        [event(0, "submitted"), ended(1, "failed", "a key is unknown", code=10)],
        2,
        Level.WRONG,
        "Run brain failed with code 10: a key is unknown",
    ),
    "an older checkpoint": (
        [*BEGUN, event(8, "checkpoint_refused", reason="it is damaged", from_round=1), started(8, from_round=1)],
        9,
        Level.LOOK,
        "Run brain went on from the checkpoint before the last: it is damaged",
    ),
    "starting": ([started()], 1, Level.IDLE, "Run brain is starting with 3 sites"),
    "joining": (
        [started(), WAITING, *joined(1, SITES[:2])],
        3,
        Level.IDLE,
        "Waiting for hospital-c: 3 min of 10, 2 of 3 sites here, joining",
    ),
    "late to join": (
        [started(), WAITING, *joined(1, SITES[:2])],
        8,
        Level.LOOK,
        "Waiting for hospital-c: 8 min of 10, 2 of 3 sites here, joining",
    ),
    "refused": (
        [started(), WAITING, event(1, "refused", site="hospital-c", reason="has another version")],
        2,
        Level.LOOK,
        "Joining goes on without hospital-c (has another version)",
    ),
    "at work": (
        [*BEGUN, asked(3, 6), *answered(3, 6.5, "hospital-a")],
        6.6,
        Level.GOOD,
        "All is well: round 3 of 20, 1 of 3 sites answered, hospital-b and hospital-c are at work",
    ),
    "all answered": (
        [*BEGUN, *whole(3, 6)],
        7.1,
        Level.GOOD,
        "All is well: round 3 of 20, all 3 sites answered",
    ),
    "late": (
        [*BEGUN, asked(3, 6), *answered(3, 7, "hospital-a", "hospital-c")],
        18,
        Level.LOOK,
        "hospital-b is late: 12 min of 60, round 3 of 20",
    ),
    "late, nobody answered": (
        [started(), *joined(), asked(1, 2)],
        40,
        Level.LOOK,
        "hospital-a, hospital-b and hospital-c are late: 38 min of 60, round 1 of 20",
    ),
    "rejected": (
        [*BEGUN, asked(3, 6), event(7, "rejected", round=3, site="hospital-b", reason="not finite")],
        7,
        Level.LOOK,
        "Round 3 of 20 goes on without hospital-b (not finite)",
    ),
    "missing": (
        [*BEGUN, asked(3, 6), done(3, 66, {"hospital-b": "no answer"}), asked(4, 66, ["hospital-a", "hospital-c"])],
        66.1,
        Level.LOOK,
        "Round 4 of 20 goes on without hospital-b (no answer)",
    ),
    "missing from the start": (
        [started(), *joined(1, SITES[:2]), asked(1, 10, SITES[:2])],
        10.1,
        Level.LOOK,
        "Round 1 of 20 goes on without hospital-c (not asked)",
    ),
    "back again": (
        [*BEGUN, asked(3, 6), done(3, 66, {"hospital-b": "no answer"}), *whole(4, 67)],
        68,
        Level.LOOK,
        "Round 4 of 20 is in order, but hospital-b was missing in round 3 (no answer)",
    ),
    "waiting for the quorum": (
        [*BEGUN, event(8, "waiting", **{"for": SITES[1:], "until": at(68)})],
        9,
        Level.LOOK,
        "Waiting for hospital-b and hospital-c: 1 min of 60, 1 of 3 sites here, round 2 of 20",
    ),
    "silent in a round": (
        [*BEGUN, asked(3, 6)],
        6 + 60 + 3,
        Level.WRONG,
        "Run brain is silent: nothing heard for 63 min, round 3 of 20",
    ),
    "silent between rounds": (
        BEGUN,
        120,
        Level.WRONG,
        "Run brain is silent: nothing heard for 115 min, round 2 of 20",
    ),
    "closing": (
        [*ALL_20, asked(21, 42, closing=True)],
        42.1,
        Level.GOOD,
        "All is well: closing exchange, 0 of 3 sites answered, hospital-a, hospital-b and hospital-c are at work",
    ),
    "handing out": (
        [*ALL_20, *whole(21, 42, closing=True)],
        44,
        Level.GOOD,
        "All is well: handing out the model, all 3 sites answered",
    ),
    "completed": (
        [*ALL_20, *whole(21, 42, closing=True), ended(44, "completed")],
        900,
        Level.GOOD,
        "All is well: run brain completed, 20 of 20 rounds with all 3 sites",
    ),
    "degraded": (
        [*ALL_20, ended(44, "degraded", "hospital-b was missing in round 3: no answer", code=28)],
        900,
        Level.LOOK,
        "Run ended degraded: hospital-b was missing in round 3: no answer (brain)",
    ),
    "failed": (
        [*BEGUN, ended(9, "failed", "1 of 3 sites answered, 2 are needed", code=21)],
        900,
        Level.WRONG,
        "Run brain failed with code 21: 1 of 3 sites answered, 2 are needed",
    ),
    "stopped": ([*BEGUN, ended(9, "stopped", code=29)], 900, Level.IDLE, "Run brain was stopped after 2 of 20 rounds"),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_the_verdict_of_every_turn(case):
    events, minutes, level, text = VERDICTS[case]
    found = view(events, minutes)
    assert (found.verdict.level, found.verdict.text) == (level, text)
    assert found.notes == ()


def test_processes_that_are_down_and_back():
    up = [event(0, "daemon_started", pid=1), event(0, "started", process="superlink")]
    down = [*up, event(6, "exited", process="superlink", code=-9, why="")]
    soon, later = view(BEGUN, 6.5, processes=down), view(BEGUN, 8, processes=down)
    assert soon.verdict.text == "superlink ended with code -9 30 s ago and is not back yet"
    assert (soon.verdict.level, later.verdict.level) == (Level.LOOK, Level.WRONG)
    assert later.notes[0].text.startswith("All is well")
    back = view(BEGUN, 8, processes=[*down, event(7, "started", process="superlink")])
    assert back.verdict.level is Level.GOOD
    assert [(name, process.starts) for name, process in back.processes] == [("superlink", 2)]
    assert back.deeds[0][1] == "superlink started"


@pytest.mark.parametrize(("how", "word"), [([], "has ended without a word"), (["daemon_stopped"], "was stopped")])
def test_a_daemon_that_does_not_run_is_told(how, word):
    told = [event(0, "daemon_started"), *(event(5, kind) for kind in how)]
    needed, over = (
        view(events, 6, processes=told, running=False) for events in (BEGUN, [*BEGUN, ended(5, "completed")])
    )
    assert needed.verdict.level is Level.WRONG
    assert over.verdict.level is Level.LOOK
    assert word in needed.verdict.text
    assert view(BEGUN, 6, running=False).verdict.level is Level.GOOD  # a daemon that never was is not missed


def test_a_certificate_that_ends_is_told():
    ends = {"server.crt": START + timedelta(days=3)}
    found = view(BEGUN, 6, certificates=ends, warnings=["server.crt expires on 2026-11-29: renew it"])
    assert (found.verdict.level, found.verdict.text) == (Level.LOOK, "server.crt expires on 2026-11-29: renew it")
    over = view(BEGUN, 6, certificates={"server.crt": START}, warnings=["server.crt has expired"])
    assert over.verdict.level is Level.WRONG


def test_an_offline_site_is_told_while_it_is_needed():
    gone = [
        event(0, "daemon_started"),
        event(1, "site_online", site="hospital-b"),
        event(5, "site_offline", site="hospital-b"),
    ]
    found = view([*BEGUN, asked(3, 6)], 6.1, processes=gone)
    assert found.verdict.text == "hospital-b is offline, round 3 of 20"
    assert (site(found).level, site(found).state, site(found).link) == (Level.LOOK, "offline", "was: at work")
    after = view([*BEGUN, ended(6, "completed")], 7, processes=gone)
    assert after.verdict.level is Level.GOOD
    assert (site(after).level, site(after).state) == (Level.IDLE, "took part")
    again = view([*BEGUN, asked(3, 6)], 6.1, processes=[*gone, event(6, "site_online", site="hospital-b")])
    assert (again.verdict.level, site(again).link) == (Level.GOOD, "online")


def test_the_state_of_each_site():
    late = view([*BEGUN, asked(3, 6), *answered(3, 7, "hospital-a")], 20)
    assert [(line.state, line.level) for line in late.sites] == [
        ("answered", Level.GOOD),
        ("late", Level.LOOK),
        ("late", Level.LOOK),
    ]
    assert site(late).reason == "no answer for 14 min of 60"
    assert site(late).files == "1,250 of 1,300 files used"
    assert site(late).heard == START + timedelta(minutes=5)
    registry = {
        "hospital-a": "invited",
        "hospital-b": "revoked",
        "hospital-c": "damaged",
        "hospital-d": "not provisioned",
    }
    states = [(line.state, line.level) for line in view([], 0, registry=registry).sites]
    expected = ["not admitted", "revoked", "record damaged", "not provisioned"]
    assert states == list(zip(expected, [Level.IDLE, Level.LOOK, Level.WRONG, Level.LOOK], strict=True))
    over = view([started(), *joined(1, SITES[:2]), *whole(1, 2), ended(4, "degraded")], 5)
    assert site(over, "hospital-a").state == "took part"


def test_troubles_are_told_once_and_by_their_place():
    events = [
        started(),
        event(1, "refused", site="hospital-b", reason="reports CheckError"),
        event(1, "refused", node=77, reason="no site of this study"),
        *joined(),
        asked(1, 2),
        event(3, "rejected", round=1, site="hospital-b", reason="not finite"),
        done(1, 4, {"hospital-b": "not finite"}),
        asked(2, 5),
        done(2, 65, {"hospital-b": "no answer"}),
        asked(3, 66),
        done(3, 126, {"hospital-b": "no answer"}),
        asked(4, 127, closing=True),
        done(4, 187, {"hospital-b": "no answer"}, closing=True),
        event(188, "delivered", site="hospital-a", model_hash=HASH),
        event(188, "not_delivered", site="hospital-b", reason="not connected"),
    ]
    found = view(events, 189)
    assert {(t.who, t.when, t.reason) for t in found.troubles} == {
        ("hospital-b", "joining", "reports CheckError"),
        ("node 77", "joining", "no site of this study"),
        ("hospital-b", "round 1", "not finite"),
        ("hospital-b", "rounds 2–3, closing", "no answer"),
        ("hospital-b", "delivery", "not connected"),
    }
    assert found.troubles[0].when == "delivery"
    assert site(found, "hospital-a").state == "has the model"
    assert (site(found).state, site(found).reason) == ("lacks the model", "not connected")


def test_a_resumed_run_forgets_what_it_does_again():
    broken = [*BEGUN, asked(3, 6), event(7, "rejected", round=3, site="hospital-b", reason="bad")]
    resumed = view([*broken, started(9, from_round=2), *joined(10), *whole(3, 11)], 12)
    assert resumed.verdict.text == "All is well: round 3 of 20, all 3 sites answered"
    assert resumed.troubles == ()
    assert [len(curve.points) for curve in resumed.charts[0].curves] == [3, 3, 3, 3]


def test_a_run_that_only_hands_out_its_model_keeps_its_past():
    missed = [*BEGUN, asked(3, 6), done(3, 66, {"hospital-b": "no answer"}), *whole(4, 67, closing=True)]
    delivered = [event(70, "delivered", site=name, model_hash=HASH) for name in ("hospital-a", "hospital-c")]
    first = [
        *missed,
        *delivered,
        event(70, "not_delivered", site="hospital-b", reason="not connected"),
        ended(70, "degraded"),
    ]
    again = [*first, started(90, from_round=3), event(91, "delivered", site="hospital-b", model_hash=HASH)]
    found = view([*again, ended(91, "degraded", "hospital-b was missing in round 3")], 92)
    assert {line.state for line in found.sites} == {"has the model"}
    assert [(t.who, t.when) for t in found.troubles] == [("hospital-b", "round 3")]
    assert found.run.rounds == "3 of 20"


def test_another_run_that_goes_on_has_a_say_and_a_dead_one_has_none():
    new = [started(100), *joined(101), *whole(1, 102)]
    late = story([started(90), *joined(91), asked(1, 92)], "older")
    found = view(new, 125, others=[late])
    assert "late: 33 min of 60" in found.verdict.text
    assert [line.name for line in found.runs] == ["brain", "older"]
    dead = view(new, 103.5, others=[story([{**one, "time": at(-9000)} for one in BEGUN], "dead")])
    assert dead.verdict.level is Level.GOOD
    assert dead.runs[1].state.startswith("silent")


def test_a_run_that_failed_before_it_began_is_the_latest():
    failed = story([event(50, "submitted"), ended(51, "failed", "a key is unknown", code=10)], "broken")
    assert view([*BEGUN, ended(9, "completed")], 60, others=[failed]).verdict.text.startswith("Run broken failed")


def test_texts_are_one_line():
    found = view([*BEGUN, event(6, "rejected", round=3, site="hospital-b", reason="a\n b\x00c" + "d" * 999)], 6)
    assert re.fullmatch("a b\\?cd+…", site(found).reason)
    assert len(site(found).reason) == 240


def test_spans():
    assert [span(s) for s in (0, 119, 120, 7199, 7200, 172800)] == ["0 s", "119 s", "2 min", "120 min", "2 h", "2 days"]


numbers = st.floats(-1e15, 1e15) | st.integers(-3, 10**9) | st.floats(0, 1e-11)


@given(st.dictionaries(st.text(max_size=3), st.dictionaries(st.integers(-5, 10**9), numbers, max_size=8), max_size=12))
def test_curves_lie_within_the_drawing(lines):
    found = chart("t", "x", "y", lines)
    drawn = [numbers for numbers in list(lines.values())[:9] if numbers]
    if found is None:
        assert not drawn
        return
    assert [len(curve.points) for curve in found.curves] == [len(numbers) for numbers in drawn]
    for x, y in (point for curve in found.curves for point in curve.points):
        assert found.left <= x <= found.right
        assert found.top <= y <= found.bottom
    assert 1 <= len(found.x_ticks) <= 6
    assert 3 <= len(found.y_ticks) <= 7
    assert all(found.top <= y <= found.bottom for y, _ in found.y_ticks)


# --- whatever is written ---------------------------------------------------------------------------------------------

KINDS = st.sampled_from(
    re.findall(
        r"\w+",
        "run_started waiting joined refused round_started answered rejected round_done delivered not_delivered "
        "run_ended started exited hung site_online site_offline daemon_started daemon_stopped resubmitted pending "
        "trouble calibrated other",
    )
)
FIELDS = st.sampled_from(
    re.findall(
        r"\w+",
        "run sites rounds from_round for until site node reason round closing asked seconds metrics answered missing "
        "validation_error model_hash best_round state reasons code n_images n_used n_declared process why what time "
        "rate achieved absent",
    )
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from([*SITES, BAD, at(0), at(60), "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS | st.sampled_from(SITES), inner, max_size=4),
    max_leaves=8,
)
ODD = st.builds(lambda kind, fields: fields | {"event": kind}, KINDS, st.dictionaries(FIELDS, VALUES, max_size=8))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
@given(st.lists(ODD, max_size=8), st.lists(ODD, max_size=4), st.integers(-100, 10000))
def test_whatever_the_lines_hold_there_is_a_page(run, processes, minutes):
    found = view([*BEGUN, *run], minutes, processes=processes)
    assert b"<h2" in render(found, 5)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
@given(st.lists(ODD, max_size=8), st.integers(0, 10000))
def test_only_what_is_well_is_called_well(run, minutes):
    found = view([*BEGUN, asked(3, 6), event(6, "rejected", round=3, site="hospital-b", reason="bad"), *run], minutes)
    if found.verdict.text.startswith("All is well"):
        assert any(one["event"] in ("run_started", "run_ended") for one in run)


# --- the files -------------------------------------------------------------------------------------------------------


@pytest.fixture
def consortium(tmp_path):
    found = write_consortium(tmp_path, name=f"Lung {BAD[:27]}", sites=SITES)
    provision(found, renew=False, now=datetime.now(UTC))
    return found


def append(path, *events):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in events)


def test_logs_are_followed(consortium):
    files = ConsortiumFiles(consortium)
    assert files.look(START).verdict.text == "No run yet: 0 of 3 sites are admitted"
    assert {line.state for line in files.look(START).sites} == {"not admitted"}
    log = consortium.run("brain") / "events.jsonl"
    append(log, *BEGUN, asked(3, 6))
    now = START + timedelta(minutes=6.5)
    assert "0 of 3 sites answered" in files.look(now).verdict.text
    half, rest = json.dumps(answered(3, 6.4, "hospital-a")[0])[:40], json.dumps(answered(3, 6.4, "hospital-a")[0])[40:]
    with log.open("a") as file:
        file.write(half)
        file.flush()
        assert "0 of 3 sites answered" in files.look(now).verdict.text
        file.write(rest + "\n")
    assert "1 of 3 sites answered" in files.look(now).verdict.text
    append(log, {"no": "event"}, answered(3, 6.4, "hospital-b")[0])
    assert "2 of 3 sites answered" in files.look(now).verdict.text
    Events(consortium.events).tell("started", process="superlink")
    assert files.look(now).deeds[0][1] == "superlink started"
    assert {name for name, _ in files.look(now).certificates} == {"ca.crt", "server.crt"}


def test_thresholds_are_read_from_the_record_of_the_latest_run(consortium):
    for name, start in (("older", 0), ("brain", 60)):
        run = consortium.run(name)
        append(run / "events.jsonl", started(start), event(start + 1, "calibrated", rate=0.05, achieved={}, absent={}))
        (run / "run.json").write_text(json.dumps({"calibration": FOUND.model_dump(mode="json") if start else None}))
    files = ConsortiumFiles(consortium)
    assert files.look(START).calibration == calibration_view(FOUND)
    for damaged in ("{", "[]", "{}", '{"calibration": {"rate": 5}}', '{"calibration": null}'):
        (consortium.run("brain") / "run.json").write_text(damaged)
        assert files.look(START).calibration is None
    append(consortium.run("older") / "events.jsonl", started(90))
    assert files.look(START).calibration is None


def test_a_folder_without_anything_has_a_page(tmp_path):
    found = ConsortiumFiles(write_consortium(tmp_path, sites=SITES)).look(START)
    assert {line.state for line in found.sites} == {"not provisioned"}
    assert "ra-server provision" in found.verdict.text


def test_a_damaged_record_or_certificate_is_told(consortium):
    (consortium.registry / "hospital-b.json").write_text("{")
    consortium.server_certificate.write_text("")
    found = ConsortiumFiles(consortium).look(START)
    assert (site(found).state, site(found).level) == ("record damaged", Level.WRONG)
    assert "server.crt" in found.verdict.text


# --- the server ------------------------------------------------------------------------------------------------------


@contextmanager
def serving(look):
    with DashboardServer(0, look) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server, method="GET", path="/", hosts=None, body=None):
    """An answer's status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.putrequest(method, path, skip_host=True)
        for host in [f"localhost:{server.server_port}"] if hosts is None else hosts:
            connection.putheader("Host", host)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@pytest.fixture
def server():
    reason = [event(7, "rejected", round=3, site=BAD, reason=BAD), event(8, "refused", node=BAD, reason=BAD)]
    found = view([*BEGUN, asked(3, 6), *reason], 8, processes=[event(1, "trouble", what=BAD)])
    with serving(lambda _: found) as server:
        yield server


def test_the_page_lets_nothing_in_from_outside(server):
    status, headers, body = ask(server)
    text = body.decode()
    assert status == 200
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert policy[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"
    assert not re.search(r"\b(src|href|style|on\w+)=", text)
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
    assert not {"Python", "BaseHTTP"} & set(re.split(r"\W", headers["Server"]))


def test_names_and_reasons_are_text(server):
    text = ask(server)[2].decode()
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;??&amp;") >= 5
    assert "\u202e" not in text


def test_head_has_no_body(server):
    status, headers, body = ask(server, "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 1000


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_but_reading_is_served(server, method):
    status, headers, _ = ask(server, method, body=b"x=1")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:9447", "[::1]:9447", "127.1.2.3"])
def test_loopback_names_are_served(server, host):
    assert ask(server, hosts=[host])[0] == 200


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["evil.example"],
        ["localhost.evil.example"],
        ["127.0.0.1.evil.example:9447"],
        ["10.0.0.1"],
        ["[::2"],
        ["localhost", "evil.example"],
        ["localhost", "localhost"],
    ],
)
def test_other_names_are_refused(server, hosts):
    status, _, body = ask(server, hosts=hosts)
    assert status == 403
    assert b"Lung" not in body


@pytest.mark.parametrize(
    "path", ["/x", "/consortium/tls/ca.key", "/../../../etc/passwd", "/%2e%2e/", "http://evil.example/", "*"]
)
def test_there_is_only_one_page(server, path):
    assert ask(server, path=path)[0] == 404


def test_a_folder_that_cannot_be_read_is_told():
    def look(_now):
        raise PermissionError(13, "Permission denied", "/secret/place")

    with serving(look) as server:
        status, _, body = ask(server)
    assert (status, body) == (503, b"The consortium's folder can't be read: Permission denied.\n")


def test_a_taken_port_is_told(consortium, server):
    with pytest.raises(ConfigError, match=f"port {server.server_port} can't be had"):
        serve(consortium, server.server_port, print)
