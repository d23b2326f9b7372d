"""One exchange's answers: each checked and added to an exact sum as it comes. Nothing in an answer is trusted."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import Message
from numpy.typing import NDArray

from ra_core.clipping import clipped, update_norm
from ra_core.config import FederationConfig
from ra_core.fixed_point import Codes, WeightedSum, check_update
from ra_core.hashing import array_digest
from ra_core.messages import MaskedReply, MessageError, RoundOrder, RoundReply
from server.rounds.aggregation import Combiner, TrimmedMean
from server.rounds.progress import LedgerHead, RoundRecord
from server.rounds.roster import TOO_LATE, counts_problem, reason_of, reported

__all__ = ["Fold", "privacy_problem", "record_of"]

LARGEST_METRIC = 1e12
"""No mean over a site's images is larger; what is would drown all others in the weighted mean."""


class Fold:
    """The answers of one exchange.

    Args:
        order: that they answer.
        sites: agreed names.
        asked: sites by the nodes that were asked.
    """

    def __init__(self, order: RoundOrder, sites: tuple[str, ...], asked: Mapping[int, str]) -> None:
        self.order, self.sites, self.asked = order, sites, asked
        self._expected = {
            "round": order.round,
            "study_digest": order.study.digest(),
            "model_hash": array_digest(order.model),
        }
        self._shapes = {name: array.shape for name, array in order.model.items()}
        self._private = order.study.dp is not None
        self._combiner = _combiner(self._shapes, order.study.federation)
        self._replies: dict[str, RoundReply] = {}
        self._heads: dict[str, LedgerHead] = {}
        self._rejected: dict[str, str] = {}

    def take(self, node: int, message: Message) -> str:
        """Fold one node's answer in; the value is why it doesn't count, empty where it does."""
        site = self.asked[node]
        try:
            if message.has_error():
                raise MessageError(reported(message.error)[1])
            reply = RoundReply.from_record(message.content)
            self._check(site, reply)
            if self.order.steps:
                self._combiner.add(self._bounded(reply), self._weight(reply.n_images))
        except ValueError as error:  # MessageError and RangeError are
            self._rejected[site] = reason_of(error)
            return self._rejected[site]
        self._replies[site] = replace(reply, update={})
        return ""

    def metrics(self, site: str) -> dict[str, float]:
        """What a site whose answer counts has told."""
        return dict(sorted(self._replies[site].metrics.items()))

    def _check(self, site: str, reply: RoundReply) -> None:
        if reply.site != site:
            raise MessageError(f"answers as '{reply.site}', which it is not")
        self._heads[site] = (reply.ledger_length, reply.ledger_head)  # it has left, whether it counts or not
        for name, value in self._expected.items():
            if getattr(reply, name) != value:
                raise MessageError(f"answers another {name.replace('_', ' ')}")
        if reply.update and not self.order.steps:
            raise MessageError("an update in the closing exchange")
        if problem := counts_problem(reply, len(self.sites), self._private):
            raise MessageError(problem)
        if problem := privacy_problem(reply, self.order):
            raise MessageError(problem)
        if not all(abs(value) <= LARGEST_METRIC for value in reply.metrics.values()):
            raise MessageError("a metric is not finite or too large")
        if reply.metrics.get("validation_error", 0.0) < 0:
            raise MessageError("a negative validation error")

    def _bounded(self, reply: RoundReply) -> Mapping[str, Codes]:
        """The update, within the study's norms."""
        federation = self.order.study.federation
        # Moments of images are no update of weights: theirs is as large as the images are bright.
        if federation.max_update_norm is not None and not self.order.study.method.fitted:
            norm = update_norm(reply.update)
            if norm > federation.max_update_norm:
                raise MessageError(f"its update's norm is {norm:.3g}, more than {federation.max_update_norm:g}")
        if federation.clip_update_norm is None:
            return reply.update
        # What is out of range is not let in by being shortened.
        check_update(reply.update, self._weight(reply.n_images), self._combiner.count, self._shapes)
        return clipped(reply.update, federation.clip_update_norm)

    def record(self, absent: Mapping[str, str]) -> RoundRecord:
        """What happened.

        Args:
            absent: reasons of agreed sites that were not asked.
        """
        replies = dict(sorted(self._replies.items()))
        return record_of(
            self.order,
            self.sites,
            self.asked.values(),
            replies,
            {**absent, **self._rejected},
            n_images=sum(reply.n_images for reply in replies.values()) if self.order.steps else 0,
            validation_error=self._validation_error(),
            by_site={name: self.metrics(name) for name in replies},
            images={name: reply.n_images for name, reply in replies.items()},
            files={name: (reply.n_used, reply.n_declared) for name, reply in replies.items()},
            ledgers=dict(sorted(self._heads.items())),
        )

    def _validation_error(self) -> float:
        """Mean over the sites that tell theirs, weighted by their images."""
        told = [reply for reply in self._replies.values() if "validation_error" in reply.metrics]
        total = math.fsum(self._weight(reply.n_val) * reply.metrics["validation_error"] for reply in told)
        return total / sum(self._weight(reply.n_val) for reply in told) if told else math.inf

    def _weight(self, count: int) -> int:
        """Of a site with so many images: with differential privacy all weigh alike, since no epsilon covers counts."""
        return 1 if self._private else count

    def mean(self) -> dict[str, NDArray[np.float64]]:
        """The sites' combined update.

        Raises:
            ValueError: no site has answered.
        """
        return self._combiner.mean()


def record_of(
    order: RoundOrder,
    sites: Sequence[str],
    asked: Collection[str],
    replies: Mapping[str, RoundReply | MaskedReply],
    reasons: Mapping[str, str],
    **told: Any,
) -> RoundRecord:
    """What happened in an exchange.

    Args:
        order: that was sent.
        sites: agreed names.
        asked: sites that it was sent to.
        replies: that count, by site in the order of the names.
        reasons: why other sites are missing; who was asked and is not among them was too late.
        told: the fields of a `RoundRecord` that masks hide, or tell otherwise.
    """
    why = {**dict.fromkeys(asked, TOO_LATE), **reasons}
    return RoundRecord(
        round=order.round,
        closing=not order.steps,
        asked=tuple(sorted(asked)),
        answered=tuple(replies),
        missing={name: why[name] for name in sites if name not in replies},
        fingerprints={name: reply.fingerprint for name, reply in replies.items()},
        privacy={
            name: (reply.epsilon, reply.delta, reply.noise_multiplier)
            for name, reply in replies.items()
            if reply.noise_multiplier
        },
        **told,
    )


def privacy_problem(reply: RoundReply | MaskedReply, order: RoundOrder) -> str:
    """What is wrong with what an answer tells of privacy, as all of a private study do; empty where nothing is.

    An update has to tell what the site has spent, and that it is not less private than the study asks for.
    """
    dp, numbers = order.study.dp, (reply.epsilon, reply.delta, reply.noise_multiplier)
    if dp is None:
        return "tells of privacy where none was spent" if any(numbers) else ""
    if not order.steps and not any(numbers):
        return ""
    if not (0 <= reply.epsilon < math.inf and 0 < reply.delta < 1 and 0 < reply.noise_multiplier < math.inf):
        return "the privacy that it has spent can't be true"
    within = reply.epsilon <= (dp.epsilon or math.inf) and reply.delta <= dp.delta
    if not within or reply.noise_multiplier < (dp.noise_multiplier or 0):
        return "has less privacy than the study asks for"
    return ""


def _combiner(shapes: Mapping[str, tuple[int, ...]], federation: FederationConfig) -> Combiner:
    if federation.aggregation == "mean":
        return WeightedSum(shapes)
    return TrimmedMean(shapes, federation.trimmed_share)
