import json
import math
import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ra_core.daemons.events import Events, read_events

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # lines are synced to disk
@given(st.lists(st.dictionaries(st.text(min_size=1).filter(lambda n: n not in ("event", "time", "self")), VALUES)))
def test_what_is_told_is_read(tmp_path_factory, told):
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    for fields in told:
        Events(path).tell("something", **fields)
    found, offset = read_events(path)
    written = [{k: v for k, v in event.items() if k not in ("event", "time")} for event in found]
    expected = json.dumps(told).encode("utf-8", "backslashreplace").decode()
    assert json.dumps(written).replace("\\\\", "\\") == expected.replace("\\\\", "\\")
    assert offset == (path.stat().st_size if told else 0)


def test_what_is_not_finite_is_null(tmp_path):
    Events(tmp_path / "e").tell("round", loss=math.nan, all=[math.inf, 1.0], by={"a": -math.inf})
    (event,), _ = read_events(tmp_path / "e")
    assert (event["loss"], event["all"], event["by"]) == (None, [None, 1.0], {"a": None})


def test_times_are_utc_and_do_not_run_back(tmp_path):
    for _ in range(5):
        Events(tmp_path / "e").tell("tick")
    times = [event["time"] for event in read_events(tmp_path / "e")[0]]
    assert times == sorted(times)
    assert all(time.endswith("Z") and "T" in time for time in times)


def test_a_file_that_is_not_there_has_no_events(tmp_path):
    assert read_events(tmp_path / "nothing", 7) == ([], 7)


@pytest.mark.parametrize("line", [b"", b"{", b"[1]", b'"x"', b'{"event": 1, "time": "t"}', b"\xff\xfe", b"[" * 9999])
def test_what_is_no_event_is_left_out(tmp_path, line):
    path = tmp_path / "e"
    Events(path).tell("before")
    with path.open("ab") as file:
        file.write(line + b"\n")
    Events(path).tell("after")
    assert [event["event"] for event in read_events(path)[0]] == ["before", "after"]


def test_half_a_line_spoils_no_other_and_is_read_once_whole(tmp_path):
    path = tmp_path / "e"
    Events(path).tell("first")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:10])
    assert read_events(path)[1] == len(whole)
    path.write_bytes(whole + whole)
    assert [event["event"] for event in read_events(path, len(whole))[0]] == ["first"]
    path.write_bytes(whole + whole[:10])
    Events(path).tell("second")  # by a writer that came after the killed one
    assert [event["event"] for event in read_events(path)[0]] == ["first", "second"]


def test_only_the_owner_reads_it(tmp_path):
    Events(tmp_path / "e").tell("x")
    assert stat.S_IMODE(os.stat(tmp_path / "e").st_mode) == 0o600
