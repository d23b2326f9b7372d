"""The way to the sites: orders out, answers back as they come, through Flower's grid."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

__all__ = ["POLL_SECONDS", "PULLED_AT_ONCE", "Post", "Waiting"]

POLL_SECONDS = 0.2
"""Pause between two looks for nodes or answers."""

PULLED_AT_ONCE = 4
"""Answers asked for at a time: Flower holds all that it was asked for, so memory grows with this, not with sites."""

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
        names: Iterable[str | None] = self._grid.push_messages(messages)
        return {name: node for name, node in zip(names, orders, strict=True) if name is not None}

    def arrived(self, waiting: Waiting) -> Iterator[tuple[int, Message]]:
        """Answers that are here now, with their nodes; they are waited for no longer."""
        for few in _chunks(list(waiting), PULLED_AT_ONCE):
            for reply in self._grid.pull_messages(few):
                # Flower's own error replies name no node, but the message that they answer.
                node = waiting.pop(reply.metadata.reply_to_message_id, None)
                if node is not None:
                    yield node, reply

    def answers(self, waiting: Waiting, seconds: float) -> Iterator[tuple[int, Message]]:
        """Answers as they arrive, with their nodes, until all are here or the time is over."""
        deadline = time.monotonic() + seconds
        while waiting and time.monotonic() < deadline:
            before = len(waiting)
            yield from self.arrived(waiting)
            if len(waiting) == before:
                time.sleep(POLL_SECONDS)


def _chunks(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (names[start : start + size] for start in range(0, len(names), size))
