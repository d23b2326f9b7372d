"""Flower's SuperNode as a hospital runs it: only bundles that the site allowed, and everything it does is told.

It changes four private functions of Flower and one text, here and nowhere else. flwr is pinned; if one of them isn't
what it was, the node doesn't start. `tests/system/test_client_daemon.py` tries it on a real server.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
from flwr.app import Error
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.fab import Fab

from client.member.allow import allowed
from client.member.mail import Mail
from client.member.reach import ready, why_not_reached
from client.member.station import Station, open_station
from ra_core.daemons.events import Events
from ra_core.errors import BundleError, RAError, VersionError
from ra_core.errors import FlowerError as FlowerFailure
from ra_core.installed import refuse_foreign
from ra_core.messages import Failure

__all__ = ["check_flower", "main"]

flower_node: Any = import_module("flwr.supernode.start_client_internal")
flower_connection: Any = import_module("flwr.supernode.fleet_http_connection")

CHANGED: tuple[tuple[Any, str, set[str]], ...] = (
    (flower_node, "_pull_and_store_message", {"get_fab", "trusted_entities"}),
    (flower_node, "_verify_fab", {"fab", "trusted_entities"}),
    (flower_node, "http_request_response", {"server_address", "authentication_keys"}),
    (flower_connection, "make_simple_http_retry_invoker", set()),
)
"""What of Flower is replaced: module, function, and parameters that we count on."""

REFUSAL = "FAB_VERIFICATION_ERROR"
"""What Flower answers instead of running a refused bundle: ours names kind and site, and has a line in the ledger."""

SITE_LIST = {"site": "allowed bundles"}
"""Stands where Flower wants keys of people that sign bundles: with none, it would run any."""

OUTAGE_SECONDS = 5.0
"""A shorter break of the connection is not told."""

RECEIVE, SEND, PUSH_OBJECT = 1, 2, 6
"""Places of functions in what Flower calls a connection; the first place is the node's number."""


def main() -> None:
    """Run until ended: `python -m client.member.supernode SITE.yaml`, and options of `flower-supernode`."""
    try:
        station = open_station(Path(sys.argv[1]))
        events = Events(station.events)
        try:
            refuse_foreign()
            check_flower()
            ready(station)
        except RAError as error:
            events.tell("waiting", kind=type(error).__name__, why=error.message, hint=error.hint)
            raise
    except RAError as error:
        sys.stderr.write(f"{error.message} ({error.hint})\n")
        sys.exit(error.exit_code)
    _change_flower(station, events)
    sys.argv = ["flower-supernode", *sys.argv[2:]]
    import_module("flwr.supernode.cli.flower_supernode").flower_supernode()
    os._exit(FlowerFailure.exit_code)  # its loop has broken off; a thread of Flower's would keep the process


def check_flower() -> None:
    """Flower is what it was when this was written.

    Raises:
        VersionError: it isn't.
    """
    for module, name, parameters in CHANGED:
        found = getattr(module, name, None)
        if not callable(found) or not parameters <= set(inspect.signature(found).parameters):
            raise _other_flower(f"{module.__name__}.{name}")
    if not isinstance(getattr(flower_node, REFUSAL, None), Error):
        raise _other_flower(f"{flower_node.__name__}.{REFUSAL}")


def _other_flower(name: str) -> VersionError:
    return VersionError(
        f"Flower's {name} is not what it was, so bundles could not be checked",
        "install federated-ra again, with the flwr that it names",
    )


def _change_flower(station: Station, events: Events) -> None:
    """Put our functions in the place of Flower's."""
    flower_node._pull_and_store_message = partial(_pull, flower_node._pull_and_store_message)
    flower_node._verify_fab = partial(_verify, station, events)
    flower_node.http_request_response = partial(_connection, station, events, flower_node.http_request_response)
    retries = flower_connection.make_simple_http_retry_invoker
    flower_connection.make_simple_http_retry_invoker = partial(_invoker, station, events, retries)


def _pull(original: Callable[..., int | None], *, get_fab: Callable[..., Fab], **others: Any) -> int | None:
    """Take the next message, and have Flower ask `_verify` about the bundle of a new run, whoever signed it."""

    def unsigned(fab_hash: str, run_id: int) -> Fab:
        fab = get_fab(fab_hash, run_id)
        fab.verifications.clear()
        fab.verifications["valid_license"] = "none is needed"  # without any, Flower doesn't ask
        return fab

    return original(get_fab=unsigned, **others | {"trusted_entities": SITE_LIST})


def _verify(station: Station, events: Events, fab: Fab, _trusted: dict[str, str]) -> bool:
    """Whether the site allows this bundle; a refused one is answered with an error, and the node goes on."""
    bundle = hashlib.sha256(fab.content).hexdigest()
    try:
        if bundle in allowed(station):
            events.tell("bundle_allowed", bundle=bundle)
            return True
        reason = ""
    except (RAError, OSError) as error:  # a list that can't be read allows nothing
        reason = error.message if isinstance(error, RAError) else type(error).__name__
    events.tell("bundle_refused", bundle=bundle, reason=reason)
    setattr(
        flower_node, REFUSAL, _failed(station, BundleError.__name__, f"server.allowed: not the app bundle {bundle}")
    )
    return False


def _failed(station: Station, kind: str, why: str = "no app of ours has answered") -> Error:
    """What leaves where our app has no part in the answer, with a line in the ledger."""
    # They bring torch with them, which this process needs for nothing else.
    from client.door import Door  # noqa: PLC0415
    from client.policy import failed  # noqa: PLC0415

    return failed(Failure(kind, station.site), Door.of(station.config, station.state), why)


@contextmanager
def _connection(station: Station, events: Events, original: Callable[..., Any], *args: Any) -> Iterator[Any]:
    """Flower's connection, which tells of itself and of each message."""
    with ExitStack() as stack:
        try:
            connection = list(stack.enter_context(original(*args)))
        except SystemExit as end:
            events.tell("waiting", **_refusal(station, end.__context__))
            raise
        events.tell("connected", node=str(connection[0]))
        mail = Mail(partial(_failed, station), events, connection[PUSH_OBJECT])
        connection[RECEIVE], connection[SEND] = mail.receiving(connection[RECEIVE]), mail.sending(connection[SEND])
        yield tuple(connection)


def _refusal(station: Station, cause: BaseException | None) -> dict[str, str]:
    """Why the server didn't let the node in, though it knew the key a moment ago."""
    told = FlowerError.from_json(cause.response.text) if isinstance(cause, httpx.HTTPStatusError) else None
    if told and told.code == ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED:
        return {
            "kind": "Remembered",
            "why": "the server still takes this site's last connection for alive",
            "hint": "it forgets a broken one after a minute; if it lasts, another machine uses the same key",
        }
    if isinstance(cause, Exception):
        error = why_not_reached(station, cause)
        return {"kind": "ConnectError", "why": error.message, "hint": error.hint}
    return {"kind": "FlowerError", "why": "Flower's SuperNode ended early", "hint": "read supernode.log"}


def _invoker(station: Station, events: Events, original: Callable[[], Any]) -> Any:
    """Flower's retries, which tell of an outage and of its end, and take no silence for a reason to give up."""
    invoker = original()
    on_backoff, on_success, should_giveup = invoker.on_backoff, invoker.on_success, invoker.should_giveup
    lost = False

    def back_off(state: Any) -> None:
        nonlocal lost
        if state.elapsed_time > OUTAGE_SECONDS and not lost:
            lost = True
            error = why_not_reached(station, state.exception)
            events.tell("lost", why=error.message)
        on_backoff(state)

    def succeed(state: Any) -> None:
        nonlocal lost
        if lost:
            lost = False
            events.tell("found", seconds=round(state.elapsed_time, 1))
        on_success(state)

    def give_up(error: Exception) -> bool:
        # Flower takes a TLS handshake that nobody answers for a refused certificate: an answer would be lost.
        return not isinstance(error, httpx.TimeoutException) and bool(should_giveup(error))

    invoker.on_backoff, invoker.on_success, invoker.should_giveup = back_off, succeed, give_up
    return invoker


if __name__ == "__main__":
    main()
