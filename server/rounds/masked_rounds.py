"""A masked exchange from keys to sum: five questions one after the other, each to those who have answered the last."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from flwr.app import RecordDict

from ra_core.config import SecureAggregationConfig
from ra_core.daemons.events import moment
from ra_core.errors import MaskingError, QuorumError, RAError
from ra_core.hashing import array_digest
from ra_core.masking import Terms, round_layout
from ra_core.messages import MaskedOrder, RoundOrder, task_digest
from server.rounds.masked_fold import Asked, MaskedFold
from server.rounds.orders import Orders
from server.rounds.post import Post
from server.rounds.progress import Progress
from server.rounds.roster import Roster, Tell, read_pins

__all__ = ["LEFT_ALONE", "MaskedRounds", "Seconds"]

LEFT_ALONE = "too few others were left for the round"
"""Why the answers of a site that has given all that it was asked for don't count."""

_BEFORE: dict[Asked, Asked] = {"deal": "announce", "mask": "deal", "confirm": "mask", "reveal": "confirm"}
"""Whose messages are relayed with a question."""

_REPEATABLE: Sequence[Asked] = ("announce", "deal")
"""Questions before any figures: what fails there can be tried again."""

_GOES_ON = "mend the sites named; the run goes on from the last checkpoint"


@dataclass(frozen=True)
class Seconds:
    """Longest waits: for a short exchange, and for the round itself."""

    stage: float
    round: float


class MaskedRounds:
    """Asks, relays, and gives what comes to a `MaskedFold`.

    Args:
        post: the way to the sites.
        roster: who they are.
        orders: makes orders.
        agreed: settings of the study.
        needed: sites whose figures have to be in a sum; at least the threshold.
        seconds: longest waits.
        on_masking: called with the number of a round before masked figures are asked for.
        tell: takes events.
    """

    def __init__(
        self,
        post: Post,
        roster: Roster,
        orders: Orders,
        agreed: SecureAggregationConfig,
        needed: int,
        seconds: Seconds,
        on_masking: Callable[[int], None],
        tell: Tell,
    ) -> None:
        self._post, self._roster, self._orders, self._agreed = post, roster, orders, agreed
        self._needed, self._seconds, self._on_masking, self._tell = needed, seconds, on_masking, tell

    def exchange(self, order: RoundOrder, asked: Mapping[int, str], progress: Progress) -> MaskedFold:
        """From keys to the sum.

        Args:
            order: of the round.
            asked: sites that take part, by node.
            progress: its ledgers are changed; on failure `unfinished` says who was there.

        Raises:
            QuorumError: too few sites were left before any figures were asked for; the round can be made again.
            MaskingError: too few were left after that, or the sum can't be opened; it can't.
        """
        fold = MaskedFold(order, self._roster.sites, asked, self._terms(order))
        there, until = asked, moment(self._seconds.round)
        names = sorted(asked.values())
        self._tell("round_started", round=order.round, closing=not order.steps, asked=names, until=until)
        try:
            for stage in get_args(Asked):
                there = self._stage(stage, fold, there, progress)
                self._close(stage, fold)
        except RAError:
            absent = {site: self._roster.why_absent(site) for site in self._roster.sites}
            progress.unfinished = fold.record(absent | dict.fromkeys(there.values(), LEFT_ALONE))
            raise
        return fold

    def _terms(self, order: RoundOrder) -> Terms:
        pins = read_pins(next(iter(self._roster.joined.values())))  # all have told the same
        shapes = {name: array.shape for name, array in order.model.items()} if order.steps else {}
        layout = round_layout(shapes, self._agreed.metrics, len(pins))
        task = task_digest(order, array_digest(order.model))
        return Terms(self._orders.run, order.round, pins, self._agreed.threshold, layout, task)

    def _stage(self, stage: Asked, fold: MaskedFold, there: Mapping[int, str], progress: Progress) -> Mapping[int, str]:
        """Ask one question; the value is who has answered it, by node."""
        if stage == "mask":
            self._on_masking(fold.order.round)
        records = self._records(stage, fold, there, progress)
        seconds = self._seconds.round if stage == "mask" else self._seconds.stage
        kind = "train.masked" if stage == "mask" else "query.stage"
        self._tell("stage", round=fold.order.round, stage=stage, asked=sorted(there.values()), until=moment(seconds))
        label = str(fold.order.round) if fold.order.steps else "closing"
        waiting, sent = self._post.send(records, kind, seconds, label), time.monotonic()
        for node, message in self._post.answers(waiting, seconds):
            site, why = there[node], fold.take(stage, there[node], message)
            if site in fold.heads:  # also of an answer that doesn't count
                progress.note_ledger(site, fold.heads[site])
            if stage == "mask" and not why:
                took = round(time.monotonic() - sent, 3)
                self._tell("answered", round=fold.order.round, site=site, seconds=took, metrics={})
        return self._left(stage, fold, there)

    def _close(self, stage: Asked, fold: MaskedFold) -> None:
        """Go on with what has come to a question.

        Raises:
            QuorumError: it is of no use, and no figures were asked for yet; the round can be made again.
            MaskingError: it is of no use; the round can't be made again.
        """
        try:
            fold.close(stage)
        except MaskingError as error:
            if stage not in _REPEATABLE:
                raise
            told = "; ".join(f"{site}: {why}" for site, why in sorted(fold.why.items()))
            raise QuorumError(f"round {fold.order.round}: {error.message} ({told})", _GOES_ON) from None

    def _left(self, stage: Asked, fold: MaskedFold, there: Mapping[int, str]) -> Mapping[int, str]:
        """Who has answered; the others fall out, which is told.

        Raises:
            QuorumError, MaskingError: they are too few.
        """
        heard = fold.said(stage)
        for site in sorted(set(there.values()) - heard.keys()):
            if site not in fold.why:
                fold.drop(stage, site)
            # In the last two stages a site that falls silent is in the sum already.
            event = "silent" if stage in ("confirm", "reveal") else "rejected"
            self._tell(event, round=fold.order.round, site=site, reason=fold.why[site])
        needed = self._agreed.threshold if stage in ("confirm", "reveal") else self._needed
        if len(heard) < needed:
            raise self._too_few(stage, fold, len(heard), needed)
        return {node: site for node, site in there.items() if site in heard}

    def _too_few(self, stage: Asked, fold: MaskedFold, left: int, needed: int) -> RAError:
        absent = {site: self._roster.why_absent(site) for site in fold.sites if site not in fold.asked.values()}
        told = "; ".join(f"{site}: {why}" for site, why in sorted((absent | fold.why).items()))
        text = f"round {fold.order.round}: {left} of {len(fold.sites)} sites are left, {needed} are needed ({told})"
        if stage in _REPEATABLE:
            return QuorumError(text, _GOES_ON)
        return MaskingError(
            f"{text}; nothing was opened", "sites give figures under masks once: begin another run, with another seed"
        )

    def _records(
        self, stage: Asked, fold: MaskedFold, there: Mapping[int, str], progress: Progress
    ) -> dict[int, RecordDict]:
        relayed = fold.said(_BEFORE[stage]) if stage in _BEFORE else {}
        if stage == "mask":
            return self._orders.addressed(MaskedOrder(**vars(fold.order), dealings=relayed), there, progress)
        return dict.fromkeys(there, self._orders.stage(fold.order, stage, relayed).to_record())
