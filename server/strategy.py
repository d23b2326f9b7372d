"""Rounds of federated averaging whose result doesn't depend on the order in which sites answer.

Each reply is checked and folded into an exact integer sum as it arrives (`ra_core/fixed_point.py`); a bad one is
rejected by name, and the round counts if enough sites are left. The model received in a round is evaluated at the sites
in the same exchange, so the model of round r is judged in round r + 1, the last one in a closing exchange.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from flwr.app import Message
from flwr.serverapp import Grid
from numpy.typing import NDArray

from ra_core.config import StudyConfig
from ra_core.errors import QuorumError
from ra_core.fixed_point import LARGEST_TOTAL_COUNT, WeightedSum
from ra_core.hashing import tensor_digest
from ra_core.messages import MessageError, RoundOrder, RoundReply

__all__ = ["FederatedAveraging", "Progress", "RoundRecord"]

Model = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class RoundRecord:
    """What happened in an exchange.

    Attributes:
        round: from 1; the closing exchange comes after the last.
        asked: sites asked.
        answered: names of the sites whose answers count, sorted.
        rejected: reasons by site, or by node where the site is not known.
        n_images: training images behind the new model.
        validation_error: mean of the received model's errors over the answering sites, weighted by their images.
        by_site: metrics of each site.
    """

    round: int
    asked: int
    answered: tuple[str, ...]
    rejected: Mapping[str, str]
    n_images: int
    validation_error: float
    by_site: Mapping[str, Mapping[str, float]]


@dataclass
class Progress:
    """State of a federation between rounds: all that a resumed run needs.

    Attributes:
        model: the global model after `round` rounds.
        round: rounds done.
        records: of all exchanges so far.
        best: the model with the lowest validation error so far, of those that may be selected.
        best_round: rounds behind it.
        best_error: its validation error; infinite where there is none yet.
    """

    model: Model
    round: int = 0
    records: list[RoundRecord] = field(default_factory=list)
    best: Model = field(default_factory=dict)
    best_round: int = 0
    best_error: float = math.inf


class FederatedAveraging:
    """The round loop.

    Args:
        grid: Flower's way to the sites.
        study: settings, the same for all sites.
        selectable: whether the model after so many steps may be selected.
        on_round: called after each exchange; the place for checkpoints and progress bars.
        poll_seconds: pause between looks for answers.
    """

    def __init__(
        self,
        grid: Grid,
        study: StudyConfig,
        selectable: Callable[[int], bool],
        on_round: Callable[[Progress], None] = lambda _: None,
        poll_seconds: float = 0.2,
    ) -> None:
        self.grid, self.study, self.selectable = grid, study, selectable
        self.on_round, self.poll_seconds = on_round, poll_seconds

    def run(self, progress: Progress) -> Progress:
        """Go on from `progress` to the end; the closing exchange lets the last round win too.

        Raises:
            QuorumError: too few sites answered usably in a round.
        """
        rounds = self.study.federation.rounds
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
        order = RoundOrder(self.study, number, start_step, steps, federation.proximal_mu, progress.model)
        fold = _Fold(order, progress.model)
        nodes = sorted(self.grid.get_node_ids())
        for node, reply in self._ask(order, nodes):
            fold.take(node, reply)
        record = fold.record(len(nodes))
        if len(record.answered) < max(1, math.ceil(federation.quorum * len(nodes))):
            reasons = "; ".join(f"{who}: {why}" for who, why in record.rejected.items()) or "no answer"
            raise QuorumError(
                f"round {number}: {len(record.answered)} of {len(nodes)} sites gave a usable answer ({reasons})",
                "mend the sites named, or lower federation.quorum; the run goes on from the last checkpoint",
            )
        progress.records.append(record)
        if self.selectable(start_step) and record.validation_error < progress.best_error:
            progress.best, progress.best_round = progress.model, progress.round
            progress.best_error = record.validation_error
        if steps:
            progress.model = fold.new_model()

    def _ask(self, order: RoundOrder, nodes: list[int]) -> Iterable[tuple[int, Message]]:
        """Replies as they arrive, with their nodes, until the deadline."""
        seconds = self.study.federation.deadline_seconds
        record = order.to_record()
        messages = [Message(record, dst_node_id=node, message_type="train", ttl=seconds) for node in nodes]
        waiting = dict(zip(self.grid.push_messages(messages), nodes, strict=True))
        deadline = time.monotonic() + seconds
        while waiting and time.monotonic() < deadline:
            for reply in self.grid.pull_messages(list(waiting)):
                node = waiting.pop(reply.metadata.reply_to_message_id, None)
                if node is not None:
                    yield node, reply
            if waiting:
                time.sleep(self.poll_seconds)


class _Fold:
    """One exchange's answers, checked and summed as they come."""

    def __init__(self, order: RoundOrder, model: Model) -> None:
        self.order, self.model = order, model
        self.model_hash = tensor_digest({name: torch.from_numpy(array) for name, array in model.items()})
        self.sum = WeightedSum({name: array.shape for name, array in model.items()})
        self.replies: dict[str, RoundReply] = {}
        self.rejected: dict[str, str] = {}

    def take(self, node: int, message: Message) -> None:
        """Fold one answer in, or note why not."""
        if message.has_error():
            self.rejected[f"node {node}"] = f"the site reports {message.error.reason}"
            return
        who = f"node {node}"
        try:
            reply = RoundReply.from_record(message.content)
            who = reply.site
            self._check(reply)
            if self.order.steps:
                self.sum.add(reply.update, reply.n_images)
        except (MessageError, ValueError) as error:
            self.rejected[who] = str(error)
            return
        self.replies[reply.site] = RoundReply(**{**vars(reply), "update": {}})

    def _check(self, reply: RoundReply) -> None:
        expected = {
            "round": self.order.round,
            "study_digest": self.order.study.digest(),
            "model_hash": self.model_hash,
        }
        for name, value in expected.items():
            if getattr(reply, name) != value:
                raise MessageError(f"answers another {name.replace('_', ' ')}")
        if reply.site in self.replies:
            raise MessageError("a second answer under this name")
        if reply.update and not self.order.steps:
            raise MessageError("an update in the closing exchange")
        if not (1 <= reply.n_patients <= reply.n_images <= LARGEST_TOTAL_COUNT and reply.n_val >= 1):
            raise MessageError("its counts can't be true")
        if not all(math.isfinite(value) for value in reply.metrics.values()):
            raise MessageError("a metric is not finite")
        if reply.metrics.get("validation_error", -1.0) < 0:
            raise MessageError("no validation error")

    def record(self, asked: int) -> RoundRecord:
        names = tuple(sorted(self.replies))
        weights = [self.replies[name].n_val for name in names]
        errors = [self.replies[name].metrics["validation_error"] for name in names]
        total = math.fsum(w * e for w, e in zip(weights, errors, strict=True))
        return RoundRecord(
            round=self.order.round,
            asked=asked,
            answered=names,
            rejected=dict(sorted(self.rejected.items())),
            n_images=self.sum.count,
            validation_error=total / sum(weights) if names else math.inf,
            by_site={name: dict(sorted(self.replies[name].metrics.items())) for name in names},
        )

    def new_model(self) -> Model:
        """The received model plus the mean update, in float64, rounded once to float32."""
        mean = self.sum.mean()
        return {name: (array + mean[name]).astype(np.float32) for name, array in self.model.items()}
