"""What is changed of Flower's SuperNode. `tests/system/test_client_daemon.py` has it on a real server."""

import hashlib
import inspect
import json
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import httpx
import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.supercore.fab import Fab
from flwr.supercore.retry import RetryInvoker
from stations import UNKNOWN, Server, make_authority, write_station

from client.ledger.book import Ledger
from client.member import supernode
from client.member.allow import allow
from client.member.supernode import check_flower, main
from ra_core.daemons.events import Events, read_events
from ra_core.errors import VersionError
from ra_core.messages import SITE_FAILED
from simulation.engines import InProcessGrid

BUNDLE = b"a bundle"
HASH = hashlib.sha256(BUNDLE).hexdigest()


@pytest.fixture
def station(tmp_path):
    return write_station(tmp_path)


@pytest.fixture
def events(station):
    return Events(station.events)


def told(station, *names):
    """Events without their time."""
    found = [
        {name: value for name, value in event.items() if name != "time"} for event in read_events(station.events)[0]
    ]
    return [event for event in found if not names or event["event"] in names]


def fab(content=BUNDLE, **verifications):
    return Fab(hash_str=hashlib.sha256(content).hexdigest(), content=content, verifications=verifications)


def test_flower_is_what_it_was():
    check_flower()


def test_the_loop_uses_what_is_replaced():
    """By these names, which Flower looks up when it calls, and with these arguments."""
    source = inspect.getsource(supernode.flower_node)
    assert "run_id = _pull_and_store_message(\n" in source
    assert "trusted_entities=trusted_entities," in source
    assert "get_fab=get_fab," in source
    assert "fab_verified = _verify_fab(fab, trusted_entities)" in source
    assert "reply = Message(FAB_VERIFICATION_ERROR, reply_to=message)" in source
    assert 'if not fab.verifications.get("valid_license", ""):' in source
    assert "with http_request_response(\n" in source
    assert "retry_invoker = make_simple_http_retry_invoker()" in inspect.getsource(supernode.flower_connection)


@pytest.mark.parametrize(
    ("place", "name"),
    [(module, name) for module, name, _ in supernode.CHANGED] + [(supernode.flower_node, supernode.REFUSAL)],
)
def test_another_flower_is_refused(monkeypatch, place, name):
    monkeypatch.delattr(place, name)
    with pytest.raises(VersionError, match=name):
        check_flower()


@pytest.mark.parametrize("name", [name for _, name, parameters in supernode.CHANGED if parameters])
def test_another_signature_is_refused(monkeypatch, name):
    monkeypatch.setattr(supernode.flower_node, name, lambda: None)
    with pytest.raises(VersionError, match=name):
        check_flower()


def test_a_bundle_runs_only_where_the_site_allows_it(station, events):
    assert not supernode._verify(station, events, fab(), {})
    allow(station, HASH)  # while the node is up
    assert supernode._verify(station, events, fab(), {})
    station.allowed.write_text("everything\n")
    assert not supernode._verify(station, events, fab(), {})
    refused, allowed, damaged = told(station)
    assert refused == {"event": "bundle_refused", "bundle": HASH, "reason": ""}
    assert allowed == {"event": "bundle_allowed", "bundle": HASH}
    assert "something else" in damaged["reason"]


def test_what_is_checked_is_the_content_and_not_what_the_server_says_of_it(station, events):
    allow(station, HASH)
    assert not supernode._verify(station, events, Fab(HASH, b"another", {}), {})


def test_flower_is_made_to_ask_whoever_signed(station):
    seen = {}

    def original(*, get_fab, trusted_entities, state):
        seen.update(fab=get_fab("hash", 1), trusted=trusted_entities, state=state)
        return 7

    signed = fab(fpk_1='{"signature": ""}')
    assert supernode._pull(original, get_fab=lambda *_: signed, trusted_entities=None, state="kept") == 7
    assert seen["trusted"]
    assert list(seen["fab"].verifications) == ["valid_license"]
    assert seen["state"] == "kept"


def order(run=1):
    InProcessGrid(None, [])  # a message needs a run
    message = Message(
        RecordDict({"x": ConfigRecord({"patient": "MRN-77"})}), dst_node_id=2, message_type="train", group_id="3"
    )
    message.metadata.__dict__["_message_id"] = "m1"
    return message


def test_messages_are_told_without_what_they_hold(station, events):
    sent = []

    @contextmanager
    def original(*_):
        yield (
            5,
            lambda: (order(), "tree"),
            lambda *what: sent.append(what) or ("ids", "session"),
            None,
            "get_fab",
            None,
            None,
        )

    with supernode._connection(station, events, original, "address") as connection:
        message, tree = connection[1]()
        reply = Message(Error(1000, "DataError at anna"), reply_to=message)
        assert connection[2](reply, tree, 1.0) == ("ids", "session")
        assert connection[4] == "get_fab"
    assert sent == [(reply, "tree", 1.0)]
    connected, received, answered = told(station)
    assert connected == {"event": "connected", "node": "5"}
    assert (received["event"], received["type"], received["round"]) == ("received", "train", "3")
    assert (answered["event"], answered["type"], answered["error"]) == ("answered", "train", "DataError at anna")
    assert "MRN-77" not in station.events.read_text()


def test_what_ends_the_loop_goes_to_flowers_own_handler(station, events):
    ended = []

    @contextmanager
    def original():
        try:
            yield 5, None, None, None, None, None, None
        except ValueError as error:
            ended.append(error)

    with supernode._connection(station, events, original):
        raise ValueError("the loop broke")
    assert len(ended) == 1


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (httpx.HTTPStatusError("", request=None, response=httpx.Response(UNKNOWN[0], json=UNKNOWN[1])), "Remembered"),
        (httpx.ConnectError("gone"), "ConnectError"),
        (None, "FlowerError"),
    ],
)
def test_a_connection_that_does_not_come_about_is_told(station, events, cause, kind):
    @contextmanager
    def original():
        try:
            if cause:
                raise cause
        finally:
            sys.exit(1)
        yield

    with pytest.raises(SystemExit), supernode._connection(station, events, original):
        pass
    (event,) = told(station)
    assert event["event"] == "waiting"
    assert event["kind"] == kind


def test_an_outage_is_told_once_and_so_is_its_end(station, events, monkeypatch):
    monkeypatch.setattr(supernode, "OUTAGE_SECONDS", -1.0)
    tries, seen = [], []

    def target():
        tries.append(1)
        if len(tries) < 4:
            raise httpx.ConnectError("gone")
        return "here"

    def original():
        return RetryInvoker(
            lambda: iter([0.0] * 9),
            httpx.ConnectError,
            None,
            None,
            on_backoff=lambda _: seen.append("back off"),
            on_success=lambda _: seen.append("success"),
            should_giveup=lambda _: False,
        )

    invoker = supernode._invoker(station, events, original)
    assert invoker.invoke(target) == "here"
    assert invoker.invoke(target) == "here"
    assert seen == ["back off"] * 3 + ["success"] * 2
    assert [event["event"] for event in told(station)] == ["lost", "found"]


def test_a_handshake_that_nobody_answers_is_tried_again(station, events):
    invoker = supernode._invoker(station, events, supernode.flower_connection.make_simple_http_retry_invoker)
    assert not invoker.should_giveup(httpx.ConnectTimeout("_ssl.c:989: The handshake operation timed out"))
    assert invoker.should_giveup(httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"))


@pytest.fixture
def restored(monkeypatch):
    """Flower is afterwards what it was."""
    for module, name in [
        *((module, name) for module, name, _ in supernode.CHANGED),
        (supernode.flower_node, supernode.REFUSAL),
    ]:
        monkeypatch.setattr(module, name, getattr(module, name))


@pytest.mark.usefixtures("restored")
def test_a_refused_bundle_is_answered_by_kind_and_site(station, events):
    assert not supernode._verify(station, events, fab(), {})
    refusal = getattr(supernode.flower_node, supernode.REFUSAL)
    assert (refusal.code, refusal.reason) == (SITE_FAILED, "BundleError at anna")


@pytest.mark.usefixtures("restored")
def test_a_refusal_has_a_line_in_the_ledger_and_without_one_says_only_that(station, events):
    supernode._verify(station, events, fab(), {})
    with Ledger.of(station.state, station.site).opened() as book:
        (line,) = book.lines()
    assert (line.kind, line.what["facts"]) == ("error", {"kind": "BundleError", "site": "anna", "about": ""})
    assert line.what["withheld"] == [f"server.allowed: not the app bundle {HASH}"]
    file = Ledger.of(station.state, station.site).file
    file.write_bytes(file.read_bytes().replace(b"BundleError", b"OtherError!"))
    supernode._verify(station, events, fab(), {})
    assert getattr(supernode.flower_node, supernode.REFUSAL).reason == "LedgerError at anna"


@pytest.mark.usefixtures("restored")
def test_a_loop_that_breaks_off_ends_the_process(station, monkeypatch):
    seen = []
    monkeypatch.setattr(supernode, "ready", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["supernode", str(station.file), "--superlink", "x:1"])
    monkeypatch.setitem(
        sys.modules,
        "flwr.supernode.cli.flower_supernode",
        SimpleNamespace(flower_supernode=lambda: seen.append((list(sys.argv), supernode.flower_node._verify_fab))),
    )
    monkeypatch.setattr("os._exit", seen.append)
    main()
    (arguments, verify), code = seen
    assert arguments == ["flower-supernode", "--superlink", "x:1"]
    assert verify.func is supernode._verify  # before Flower's own loop begins
    assert code == 27


@pytest.mark.parametrize(("answer", "code", "kind"), [(UNKNOWN, 22, "AdmissionError"), ((502, {}), 25, "ConnectError")])
def test_a_node_that_would_not_be_let_in_is_not_started(tmp_path, monkeypatch, capsys, answer, code, kind):
    issuer = make_authority()
    with Server(tmp_path, issuer, answer).running() as server:
        station = write_station(tmp_path, issuer, server.port)
        monkeypatch.setattr(sys, "argv", ["supernode", str(station.file)])
        with pytest.raises(SystemExit) as stopped:
            main()
    assert stopped.value.code == code
    (event,) = told(station)
    assert event["kind"] == kind
    assert event["why"] in capsys.readouterr().err
    json.dumps(event)
