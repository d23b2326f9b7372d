"""What goes through a SuperNode's connection: each message is told, and no error leaves with a text of its own."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Callable
from typing import Any

from flwr.app import Error, Message
from flwr.common.constant import ErrorCode
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)

from ra_core.daemons.events import Events
from ra_core.messages import CRASHED, SITE_FAILED

__all__ = ["Mail"]

Receive = Callable[[], tuple[Message, Any] | None]
Send = Callable[[Message, Any, float], tuple[set[str], str]]
PushObject = Callable[[int, str, str, bytes], None]
Failed = Callable[[str], Error]

_RAISED = re.compile(r"<class '[\w.]*?(\w+)'>")

_KINDS = {ErrorCode.CLIENT_APP_CRASHED: CRASHED, ErrorCode.LOAD_CLIENT_APP_EXCEPTION: "LoadError"}
"""Of Flower's own errors that are no exception of an app."""


class Mail:
    """A connection's messages.

    Args:
        failed: what leaves in place of an error of Flower's, of which it gets the kind, once the ledger has it.
        events: where each message's type and round, its seconds, and the kind of an error are told; nothing it holds.
        push: sends an object: run, session, name, content.
    """

    def __init__(self, failed: Failed, events: Events, push: PushObject) -> None:
        self._failed, self._events, self._push = failed, events, push
        self._received: dict[str, tuple[dict[str, str], float]] = {}

    def receiving(self, original: Receive) -> Receive:
        """Flower's function, told."""

        def receive() -> tuple[Message, Any] | None:
            found = original()
            if found is not None:
                about = found[0].metadata
                what = {"type": about.message_type, "round": about.group_id, "run": str(about.run_id)}
                self._received = {about.message_id: (what, time.monotonic())}  # one at a time
                self._events.tell("received", **what)
            return found

        return receive

    def sending(self, original: Send) -> Send:
        """Flower's function, told; an error that is not ours goes out as its kind alone, with a line in the ledger."""

        def send(message: Message, tree: Any, seconds: float) -> tuple[set[str], str]:
            if message.has_error() and message.error.code != SITE_FAILED:
                message = self._plain(message)
                sent = self._send_whole(original, message, seconds)
            else:
                sent = original(message, tree, seconds)
            what, since = self._received.pop(message.metadata.reply_to_message_id, ({}, time.monotonic()))
            error = message.error.reason if message.has_error() else ""
            self._events.tell("answered", **what, seconds=round(time.monotonic() - since, 1), error=error)
            return sent

        return send

    def _plain(self, message: Message) -> Message:
        """The same answer without the error's text, which may name files or patients."""
        raised = _RAISED.match(message.error.reason or "")
        kind = raised.group(1) if raised else _KINDS.get(message.error.code, "Exception")
        about = copy.deepcopy(message.metadata)
        about.__dict__["_message_id"] = ""  # Flower names a message after its content
        remade: Any = Message  # its `metadata` is Flower's own, and not declared
        plain: Message = remade(self._failed(kind), metadata=about)
        about.__dict__["_message_id"] = plain.object_id
        return plain

    def _send_whole(self, original: Send, message: Message, seconds: float) -> tuple[set[str], str]:
        """Send a message and its objects, which Flower's store doesn't have; none is left to send."""
        with no_object_id_recompute():
            wanted, session = original(message, get_object_tree(message), seconds)
            for name, part in get_all_nested_objects(message).items():
                if name in wanted:
                    self._push(message.metadata.run_id, session, name, part.deflate())
        return set(), session
