"""The exchange before the rounds: nodes say which site they are, and whoever comes later says it later."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import replace

from flwr.app import RecordDict

from ra_core.daemons.events import moment
from ra_core.messages import JoinOrder
from server.rounds.post import POLL_SECONDS, Post, Waiting
from server.rounds.progress import LedgerHead
from server.rounds.roster import Roster, Tell

__all__ = ["Joining"]

RETRY_SECONDS = 30.0
"""Pause before a node that was refused, or didn't answer, is asked again."""

LATE_SECONDS = 20.0
"""What a round waits for the answers of nodes that have never been asked before; never for those that have."""


class Joining:
    """Asks nodes to join.

    Args:
        post: the way to them.
        roster: takes their answers.
        order: what they are asked.
        seconds: longest wait for all agreed sites, at the start.
        tell: takes events.
        ledgers: what is known of sites' ledgers; a node is asked with it where its site is sure by its key.
    """

    def __init__(
        self,
        post: Post,
        roster: Roster,
        order: JoinOrder,
        seconds: float,
        tell: Tell,
        ledgers: Mapping[str, LedgerHead],
    ) -> None:
        self._post, self._roster, self._tell = post, roster, tell
        self._order, self._seconds, self._ledgers = order, seconds, ledgers
        self._waiting: Waiting = {}
        self._asked: dict[int, float] = {}  # node -> when, last

    def open(self) -> None:
        """Wait until each agreed site has joined or been refused, at most as long as was set."""
        deadline = time.monotonic() + self._seconds
        self._tell("waiting", **{"for": list(self._roster.absent), "until": moment(self._seconds)})
        while True:
            self._ask(deadline - time.monotonic())
            arrived = self._take()
            if self._roster.settled or time.monotonic() > deadline:
                return
            if not arrived:
                time.sleep(POLL_SECONDS)

    def late(self, seconds: float = LATE_SECONDS) -> None:
        """Let in who has come since; nodes that are asked for the first time get a short while to answer.

        Args:
            seconds: how long.
        """
        if not self._roster.absent:
            return
        deadline = time.monotonic() + seconds
        new = self._ask(self._seconds)
        while True:
            arrived = self._take()
            if not new & set(self._waiting.values()) or time.monotonic() > deadline:
                return
            if not arrived:
                time.sleep(POLL_SECONDS)

    def known(self, sites: Collection[str], before: Collection[str], seconds: float) -> dict[int, str]:
        """Connected nodes of these sites, as far as they have joined the run; those that haven't are asked first.

        A site answers in runs alone that it has joined, and it remembers which.

        Args:
            sites: that are wanted.
            before: sites that have joined the run before it was started again.
            seconds: longest wait for their answers.
        """
        if set(sites) - set(self._joined(before).values()):
            self.late(seconds)
        return {node: site for node, site in self._joined(before).items() if site in sites}

    def _joined(self, before: Collection[str]) -> dict[int, str]:
        there = self._roster.known(self._post.connected())
        return {node: site for node, site in there.items() if site in self._roster.joined or site in before}

    def _ask(self, seconds: float) -> set[int]:
        """Ask connected nodes that aren't in; the value is who was never asked before."""
        now = time.monotonic()
        busy = set(self._waiting.values())
        nodes = [
            node
            for node in sorted(self._post.connected() - busy)
            if self._roster.may_join(node) and now - self._asked.get(node, -math.inf) >= RETRY_SECONDS
        ]
        new = {node for node in nodes if node not in self._asked}
        if nodes and seconds > 0:
            sent = self._post.send({node: self._record(node) for node in nodes}, "query", seconds)
            self._waiting |= sent
            self._roster.silent.update(sent.values())
            self._asked |= dict.fromkeys(nodes, now)
        return new

    def _record(self, node: int) -> RecordDict:
        length, head = self._ledgers.get(self._roster.known([node]).get(node, ""), (0, ""))
        return replace(self._order, ledger_length=length, ledger_head=head).to_record()

    def _take(self) -> bool:
        """Take what has arrived; whether anything has."""
        arrived = list(self._post.arrived(self._waiting))
        for node, message in arrived:
            self._roster.take(node, message)
        return bool(arrived)
