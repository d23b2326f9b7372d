"""Rounds of federated averaging whose result doesn't depend on the order in which sites answer.

Each reply is checked and folded into an exact integer sum as it arrives (`server/fold.py`); a bad one is rejected by
name, and the round counts if enough of the agreed sites are left. The model received in a round is evaluated at the
sites in the same exchange, so the model of round r is judged in round r + 1, the last one in a closing exchange.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence

from flwr.app import Message
from flwr.serverapp import Grid

from ra_core.config import StudyConfig
from ra_core.errors import QuorumError
from ra_core.messages import RoundOrder
from server.fold import Fold
from server.progress import Progress, RoundRecord

__all__ = ["FederatedAveraging"]

POLL_SECONDS = 0.2
"""Pause between two looks for nodes or answers."""

PULLED_AT_ONCE = 4
"""Answers asked for at a time: Flower holds all that it was asked for, so memory grows with this, not with sites."""


class FederatedAveraging:
    """The round loop.

    Args:
        grid: Flower's way to the sites.
        study: settings, the same for all sites.
        sites: agreed names; no other site takes part, and the quorum is a share of these, connected or not.
        selectable: whether the model after so many steps may be selected.
        on_round: called after each exchange; the place for checkpoints and progress bars.
        deadline: longest wait in seconds for sites to connect, and then for all their answers; the study's by default.
    """

    def __init__(
        self,
        grid: Grid,
        study: StudyConfig,
        sites: Sequence[str],
        selectable: Callable[[int], bool],
        on_round: Callable[[Progress], None],
        deadline: float | None = None,
    ) -> None:
        self.grid, self.study, self.sites = grid, study, tuple(sorted(sites))
        self.selectable, self.on_round = selectable, on_round
        self.deadline = study.federation.deadline_seconds if deadline is None else deadline
        # Less a hair: 0.55 * 20 is a little more than 11.
        self._needed = max(1, math.ceil(study.federation.quorum * len(self.sites) - 1e-9))
        self._names: dict[int, str] = {}  # of the nodes that have answered well

    def run(self, progress: Progress) -> Progress:
        """Go on from `progress` to the end; the closing exchange lets the last round win too.

        All agreed sites are waited for at the start, as many as the quorum needs before later exchanges; at most as
        long as the deadline.

        Raises:
            QuorumError: too few sites answered usably in a round.
        """
        rounds = self.study.federation.rounds
        self._nodes(len(self.sites))
        while progress.round < rounds:
            self._exchange(progress, progress.round + 1, self.study.federation.local_steps)
            progress.round += 1
            self.on_round(progress)
        if len(progress.records) == rounds:
            self._exchange(progress, rounds + 1, 0)
            self.on_round(progress)
        return progress

    def _exchange(self, progress: Progress, number: int, steps: int) -> None:
        federation = self.study.federation
        start_step = progress.round * federation.local_steps
        order = RoundOrder(
            study=self.study,
            round=number,
            best_round=progress.best_round,
            start_step=start_step,
            steps=steps,
            proximal_mu=federation.proximal_mu,
            model=progress.model,
        )
        nodes = self._nodes(self._needed)
        fold = Fold(order, self.sites, {node: self._names[node] for node in nodes if node in self._names})
        for node, reply in self._ask(order, nodes):
            fold.take(node, reply)
        record = fold.record(nodes)
        self._require_quorum(record)
        self._names |= fold.names
        progress.records.append(record)
        if self.selectable(start_step) and record.validation_error < progress.best_error:
            progress.best, progress.best_round = progress.model, progress.round
            progress.best_error = record.validation_error
        if steps:
            progress.model = fold.new_model()

    def _require_quorum(self, record: RoundRecord) -> None:
        if len(record.answered) < self._needed:
            reasons = dict.fromkeys(record.missing, "nothing came under this name") | dict(record.rejected)
            told = "; ".join(f"{who}: {why}" for who, why in reasons.items())
            raise QuorumError(
                f"round {record.round}: {len(record.answered)} of {len(self.sites)} sites gave a usable answer, "
                f"{self._needed} are needed ({told})",
                "mend the sites named; the run goes on from the last checkpoint (a lower quorum would be another run)",
            )

    def _nodes(self, wanted: int) -> list[int]:
        """The connected nodes, sorted, once there are as many as wanted or the deadline has passed."""
        deadline = time.monotonic() + self.deadline
        while len(nodes := sorted(self.grid.get_node_ids())) < wanted and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return nodes

    def _ask(self, order: RoundOrder, nodes: list[int]) -> Iterator[tuple[int, Message]]:
        """Replies as they arrive, with their nodes, until the deadline."""
        record = order.to_record()
        messages = [Message(record, dst_node_id=node, message_type="train", ttl=self.deadline) for node in nodes]
        waiting = dict(zip(self.grid.push_messages(messages), nodes, strict=True))
        deadline = time.monotonic() + self.deadline
        while waiting and time.monotonic() < deadline:
            arrived = 0
            for few in _chunks(list(waiting), PULLED_AT_ONCE):
                for reply in self.grid.pull_messages(few):
                    arrived += 1
                    node = waiting.pop(reply.metadata.reply_to_message_id, None)
                    if node is not None:
                        yield node, reply
            if not arrived:
                time.sleep(POLL_SECONDS)


def _chunks(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (names[start : start + size] for start in range(0, len(names), size))
