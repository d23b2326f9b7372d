"""State of a federation between rounds: all that a resumed run needs, and what happened so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ra_core.messages import JoinReply
from ra_core.thresholds.record import FederatedCalibration

__all__ = ["LedgerHead", "Model", "Privacy", "Progress", "RoundRecord"]

Model = dict[str, NDArray[np.float32]]
"""Shared arrays by "part.name"."""

LedgerHead = tuple[int, str]
"""Length of a site's ledger, and the hash of its last line."""

Privacy = tuple[float, float, float]
"""Epsilon of a site's updates in a run so far, delta, noise multiplier."""


@dataclass(frozen=True)
class RoundRecord:
    """What happened in an exchange.

    Attributes:
        round: from 1; the closing exchange comes after the last.
        closing: whether it only judged the last model.
        asked: sites that the order went to, sorted.
        answered: those whose answers count, sorted.
        missing: the other agreed sites, each with the reason.
        n_images: training images behind the new model.
        validation_error: mean of the received model's errors over the answering sites, weighted by their images; of
            those whose policy lets it out. Infinite where none does.
        by_site: metrics of each site.
        images: training images that each site counts.
        privacy: of each site with differential privacy, epsilon of all that it has paid for in this run, delta, and its
            noise multiplier.
        files: of each site, those used and those that ought to be images.
        fingerprints: of each site's data; another one than before tells that the data changed.
        ledgers: of each site that answered, whether it counts or not, the length of its ledger and the hash of its last
            line, which is about this answer. They hold times, so records are compared without them.
        means, totals: with secure aggregation, means of the metrics and sums of the counts over the answering sites, in
            place of each site's.
    """

    round: int
    closing: bool
    asked: tuple[str, ...]
    answered: tuple[str, ...]
    missing: Mapping[str, str]
    n_images: int
    validation_error: float
    by_site: Mapping[str, Mapping[str, float]]
    images: Mapping[str, int]
    files: Mapping[str, tuple[int, int]]
    fingerprints: Mapping[str, str]
    ledgers: Mapping[str, LedgerHead] = field(compare=False)
    privacy: Mapping[str, Privacy] = field(default_factory=dict)
    means: Mapping[str, float] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)

    def void(self) -> RoundRecord:
        """The same exchange where too few sites had privacy left for it: no answer counts, and what was told stays."""
        missing = dict(self.missing) | dict.fromkeys(self.answered, "too few others have privacy left for the round")
        return replace(self, answered=(), missing=missing, n_images=0, validation_error=math.inf)


@dataclass
class Progress:
    """State of a federation between rounds.

    Attributes:
        model: the global model after `round` rounds.
        round: rounds done.
        optimizer: what the server's optimizer remembers.
        records: of all exchanges so far.
        joined: what each site has told of itself, by name.
        best: the model with the lowest validation error so far, of those that may be selected.
        best_round: rounds behind it.
        best_error: its validation error; infinite where there is none yet.
        calibration: thresholds and accuracy of the best model over all sites; None before they are known, and where the
            study asks for none.
        delivered: sites that have stored the best model, after the closing exchange.
        undelivered: the other agreed sites, each with the reason; empty before the delivery.
        ledgers: the longest that each site has told of its ledger in this run; orders acknowledge it.
        unfinished: the exchange that too few sites answered, which ended the run; no part of a checkpoint.
    """

    model: Model
    round: int = 0
    optimizer: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    records: list[RoundRecord] = field(default_factory=list)
    joined: dict[str, JoinReply] = field(default_factory=dict)
    best: Model = field(default_factory=dict)
    best_round: int = 0
    best_error: float = math.inf
    calibration: FederatedCalibration | None = None
    delivered: tuple[str, ...] = ()
    undelivered: dict[str, str] = field(default_factory=dict)
    ledgers: dict[str, LedgerHead] = field(default_factory=dict)
    unfinished: RoundRecord | None = None

    def take_in(self, joined: Mapping[str, JoinReply]) -> None:
        """Note what sites have told of themselves when they joined."""
        self.joined |= joined
        for site, reply in joined.items():
            self.note_ledger(site, (reply.ledger_length, reply.ledger_head))

    def note_ledger(self, site: str, head: LedgerHead) -> None:
        """Note what a site has told of its ledger; one that has grown no longer is not believed."""
        if head[0] > self.ledgers.get(site, (0, ""))[0]:
            self.ledgers[site] = head

    @property
    def closed(self) -> bool:
        """Whether the last model has been judged, so that only calibration and delivery are left."""
        return bool(self.records) and self.records[-1].closing

    @property
    def spent(self) -> bool:
        """Whether the last round was void, so that only the closing exchange and the delivery are left."""
        return bool(self.records) and self.records[-1].round > self.round and not self.closed

    def has_stalled(self, patience: int) -> bool:
        """Whether no better model was found for so many rounds; never with a patience of 0, or before there is one."""
        return bool(patience and self.best) and self.round - 1 - self.best_round >= patience

    def counted(self, site: str, up_to: int) -> int:
        """The last round up to this one in which a site's answer counted; 0 where there is none."""
        rounds = (record.round for record in self.records if not record.closing and site in record.answered)
        return max((number for number in rounds if number <= up_to), default=0)
