"""Events in words."""

import ast
import inspect

import pytest

import client.member.daemon
import client.member.supernode
import client.models
from client.member.told import line, trouble_of

EVENTS = [
    ({"event": "connected", "node": "5"}, "connected"),
    (
        {"event": "waiting", "kind": "X", "why": "nobody answers", "hint": "call"},
        "not connected: nobody answers (call)",
    ),
    ({"event": "waiting", "kind": "X", "why": "nobody answers", "hint": ""}, "not connected: nobody answers; it is"),
    ({"event": "exited", "process": "supernode", "code": -9, "why": "", "restart_in": 5.0}, "starts again in 5 s"),
    ({"event": "hung", "process": "supernode"}, "hangs"),
    ({"event": "lost", "why": "it does not answer"}, "can't be reached: it does not answer"),
    ({"event": "found", "seconds": 32.4}, "back after 32 s"),
    ({"event": "bundle_allowed", "bundle": "a" * 64}, "allowed app bundle"),
    ({"event": "bundle_refused", "bundle": "a" * 64, "reason": ""}, f"`ra-client allow {'a' * 64}`"),
    ({"event": "bundle_refused", "bundle": "a" * 64, "reason": "damaged"}, "damaged"),
    ({"event": "received", "type": "train", "round": "3", "run": "1"}, "round 3: begun"),
    ({"event": "received", "type": "train", "round": "", "run": "1"}, "a round: begun"),
    ({"event": "received", "type": "train", "round": "closing", "run": "1"}, "the closing exchange: begun"),
    ({"event": "received", "type": "train", "round": "3\x1b[2J", "run": "1"}, "a round: begun"),
    ({"event": "received", "type": "\x1b[2J", "round": "3", "run": "1"}, "a message: begun"),
    (
        {"event": "answered", "type": "train", "round": "3", "run": "1", "seconds": 12.3, "error": ""},
        "answered in 12 s",
    ),
    (
        {"event": "answered", "type": "query", "round": "", "run": "1", "seconds": 1.0, "error": "DataError at x"},
        "failed",
    ),
    ({"event": "answered", "seconds": 1.0, "error": ""}, "a message: answered in 1 s"),
    ({"event": "model_received", "model_hash": "b" * 64, "origin": "run study"}, "`ra-client models` lists it"),
    ({"event": "daemon_stopped"}, "stopped"),
]


@pytest.mark.parametrize(("event", "words"), EVENTS)
def test_events_have_words(event, words):
    assert words in line(event)


def test_others_have_none():
    assert line({"event": "started", "process": "supernode", "pid": 7}) == ""


def test_every_event_that_is_told_has_words():
    told = set()
    for module in (client.member.daemon, client.models, client.member.supernode):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "tell":
                told.add(node.args[0].value)
    assert told - {event["event"] for event, _ in EVENTS} == {"daemon_started"}


def test_the_latest_trouble_counts():
    waiting = {"event": "waiting", "why": "w", "hint": ""}
    connected, lost, found = {"event": "connected"}, {"event": "lost", "why": "l"}, {"event": "found"}
    assert trouble_of([waiting, connected, {"event": "answered"}]) == ""
    assert trouble_of([connected, waiting, {"event": "exited"}]) == "w"
    assert trouble_of([connected, lost]) == "l"
    assert trouble_of([connected, lost, found]) == ""
    assert trouble_of([]) == "it hasn't tried yet"
