"""The way to the sites: orders out, answers back as they come, through Flower's grid."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping

from flwr.app import Error, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError  # private: flwr is pinned
from google.protobuf.message import DecodeError

from ra_core.messages import SITE_FAILED

__all__ = ["POLL_SECONDS", "PUSHES", "Post", "Waiting"]

POLL_SECONDS = 0.2
"""Pause between two looks for nodes or answers."""

PUSHES = 5
"""How often the same orders are handed to Flower before it is given up."""

_UNPACKING = (ValueError, LookupError, TypeError, AttributeError, RecursionError, DecodeError)
"""What Flower's unpacking of a message raises where its content is none; a SuperLink that is away raises others."""

Waiting = dict[str, int]
"""Messages that aren't answered yet, with the nodes that they went to."""


class Post:
    """Sends orders and looks for answers.

    Args:
        grid: Flower's way to the sites.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def connected(self) -> set[int]:
        """Nodes that Flower takes for online."""
        return set(self._grid.get_node_ids())

    def send(self, orders: Mapping[int, RecordDict], kind: str, seconds: float, label: str = "") -> Waiting:
        """Send each node its order.

        Args:
            orders: by node.
            kind: of message, as Flower names it.
            seconds: after which an order that no node has fetched is void: no site works through stale ones.
            label: what a site's daemon shows of it.

        Returns:
            What is waited for; without a node that Flower knows no longer.
        """
        messages = [
            Message(order, dst_node_id=node, message_type=kind, ttl=seconds, group_id=label)
            for node, order in orders.items()
        ]
        return {name: node for name, node in zip(self._pushed(messages), orders, strict=True) if name}

    def _pushed(self, messages: list[Message]) -> Iterable[str]:
        """Hand messages to Flower; the value is their numbers, empty for a node that it doesn't know.

        A SuperLink that was killed once it had stored a part, and before it said so, refuses it when Flower sends it
        again. The same messages have the same numbers, so all of them can be handed over anew: only what it lacks
        travels again.
        """
        for _ in range(PUSHES - 1):
            with contextlib.suppress(ObjectPushError):
                return self._grid.push_messages(messages)
        return self._grid.push_messages(messages)

    def arrived(self, waiting: Waiting) -> Iterator[tuple[int, Message]]:
        """Answers that are here now, with their nodes; they are waited for no longer.

        One is asked for at a time: Flower holds all that it was asked for, and one that it can't unpack must not take
        others with it. Such a one is an error of its site.
        """
        for name, node in list(waiting.items()):
            try:
                replies = list(self._grid.pull_messages([name]))
            except _UNPACKING as error:
                replies = [_unreadable(node, error)]
            for reply in replies:
                waiting.pop(name, None)
                yield node, reply

    def answers(self, waiting: Waiting, seconds: float) -> Iterator[tuple[int, Message]]:
        """Answers as they arrive, with their nodes, until all are here or the time is over."""
        deadline = time.monotonic() + seconds
        while waiting and time.monotonic() < deadline:
            before = len(waiting)
            yield from self.arrived(waiting)
            if len(waiting) == before:
                time.sleep(POLL_SECONDS)


def _unreadable(node: int, error: Exception) -> Message:
    """In place of an answer that Flower failed to unpack; what the site sent is not quoted."""
    asked = Message(RecordDict(), dst_node_id=node, message_type="train")
    return Message(Error(SITE_FAILED, f"a message that can't be read ({type(error).__name__})"), reply_to=asked)
