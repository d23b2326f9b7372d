"""One exchange's answers: each checked and added to an exact sum as it comes. Nothing in an answer is trusted."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from flwr.app import Message

from ra_core.fixed_point import LARGEST_TOTAL_COUNT, WeightedSum
from ra_core.hashing import tensor_digest
from ra_core.messages import MessageError, RoundOrder, RoundReply
from server.progress import Model, RoundRecord

__all__ = ["Fold"]

LARGEST_METRIC = 1e12
"""No mean over a site's images is larger; what is would drown all others in the weighted mean."""

MOST_IMAGES = 10_000_000
"""No hospital has more healthy images for one study; a site that claims more would own the weighted mean."""

LONGEST_REASON = 200
"""Characters of a reason that are kept: parts of it come from the site."""


class Fold:
    """The answers of one exchange.

    Args:
        order: that they answer.
        sites: agreed names.
        known: names of connected nodes from earlier exchanges: such a name is taken from that node only. In the first
            exchange, and the first after a resume, the first of two nodes that give one name has it: only node
            authentication, which lets no stranger in, rules that out.

    Attributes:
        names: of the nodes whose answers count.
    """

    def __init__(self, order: RoundOrder, sites: tuple[str, ...], known: Mapping[int, str]) -> None:
        self.order, self.sites, self.known = order, sites, known
        self.names: dict[int, str] = {}
        self._model_hash = tensor_digest({name: torch.from_numpy(array) for name, array in order.model.items()})
        self._sum = WeightedSum({name: array.shape for name, array in order.model.items()})
        self._replies: dict[str, RoundReply] = {}
        self._rejected: dict[int, tuple[str, str]] = {}  # node -> name it gave, reason

    def take(self, node: int, message: Message) -> None:
        """Fold one node's answer in, or note why not."""
        name = ""
        try:
            if message.has_error():
                name, kind = _site_of_error(message.error.reason)
                raise MessageError(f"reports {kind}")
            reply = RoundReply.from_record(message.content)
            name = reply.site
            self._check(node, reply)
            if self.order.steps:
                self._sum.add(reply.update, reply.n_images)
        except ValueError as error:  # MessageError and RangeError are
            self._rejected[node] = name, _printable(str(error))
            return
        self.names[node] = reply.site
        self._replies[reply.site] = replace(reply, update={})

    def _check(self, node: int, reply: RoundReply) -> None:
        self._check_name(node, reply.site)
        expected = {
            "round": self.order.round,
            "study_digest": self.order.study.digest(),
            "model_hash": self._model_hash,
        }
        for name, value in expected.items():
            if getattr(reply, name) != value:
                raise MessageError(f"answers another {name.replace('_', ' ')}")
        if reply.update and not self.order.steps:
            raise MessageError("an update in the closing exchange")
        # A share of the total for each, so that no site can take what is left for another.
        most = min(MOST_IMAGES, LARGEST_TOTAL_COUNT // len(self.sites))
        if not (1 <= reply.n_patients <= reply.n_images <= most and 1 <= reply.n_val <= most):
            raise MessageError("its counts can't be true")
        if not 1 <= reply.n_used <= reply.n_declared <= most:
            raise MessageError("its counts of files can't be true")
        if not all(abs(value) <= LARGEST_METRIC for value in reply.metrics.values()):
            raise MessageError("a metric is not finite or too large")
        if reply.metrics.get("validation_error", -1.0) < 0:
            raise MessageError("no validation error")

    def _check_name(self, node: int, name: str) -> None:
        if name not in self.sites:
            raise MessageError(f"'{name}' is not a site of this study")
        others = set(self.known.values()) - {self.known.get(node)}
        if self.known.get(node, name) != name or name in others:
            raise MessageError(f"answers as '{name}', which it is not")
        if name in self._replies:
            raise MessageError(f"a second answer as '{name}'")

    def record(self, nodes: list[int]) -> RoundRecord:
        """What happened.

        Args:
            nodes: that were asked.
        """
        names = tuple(sorted(self._replies))
        weights = [self._replies[name].n_val for name in names]
        errors = [self._replies[name].metrics["validation_error"] for name in names]
        total = math.fsum(w * e for w, e in zip(weights, errors, strict=True))
        return RoundRecord(
            round=self.order.round,
            asked=len(nodes),
            answered=names,
            missing=tuple(name for name in self.sites if name not in names),
            rejected=dict(sorted(self._reasons(nodes))),
            n_images=self._sum.count,
            validation_error=total / sum(weights) if names else math.inf,
            by_site={name: dict(sorted(self._replies[name].metrics.items())) for name in names},
            images={name: self._replies[name].n_images for name in names},
            files={name: (self._replies[name].n_used, self._replies[name].n_declared) for name in names},
            fingerprints={name: self._replies[name].fingerprint for name in names},
        )

    def _reasons(self, nodes: list[int]) -> Iterator[tuple[str, str]]:
        """Who was rejected, and why: by the name that is known, else by the agreed name given that nobody else has."""
        taken = set(self.names.values()) | set(self.known.values())
        for node in sorted(set(nodes) - set(self.names)):
            name, why = self._rejected.get(node, ("", "no answer before the deadline"))
            free = name in self.sites and name not in taken
            taken.add(name)
            yield self.known.get(node) or (name if free else f"node {node}"), why

    def new_model(self) -> Model:
        """The received model plus the mean update, in float64, rounded once to float32.

        Raises:
            ValueError: no site has answered.
        """
        mean = self._sum.mean()
        return {name: (array + mean[name]).astype(np.float32) for name, array in self.order.model.items()}


def _site_of_error(reason: str | None) -> tuple[str, str]:
    """A site's name, where it is told, and the rest: "KIND at SITE" is what our client sends."""
    text = reason or "an error"
    kind, _, name = text.partition(" at ")
    return (name, kind) if re.fullmatch(r"\w{1,40}", kind) else ("", text)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:LONGEST_REASON])
