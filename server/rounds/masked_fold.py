"""What is said in a masked exchange: each message checked as it comes, and in the end the sum of all figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

import numpy as np
from flwr.app import Message
from numpy.typing import NDArray

from ra_core.errors import MaskingError
from ra_core.hashing import array_digest
from ra_core.masking import (
    Announcement,
    Confirmation,
    Dealing,
    MaskedInput,
    Reveal,
    Roll,
    Tally,
    Terms,
    Totals,
    check_announcement,
)
from ra_core.masking.messages import Signed
from ra_core.messages import MaskedReply, MessageError, RoundOrder, StageReply
from server.rounds.fold import privacy_problem, record_of
from server.rounds.progress import LedgerHead, RoundRecord
from server.rounds.roster import TOO_LATE, reason_of, reported

__all__ = ["Asked", "MaskedFold"]

Asked = Literal["announce", "deal", "mask", "confirm", "reveal"]
"""What sites are asked for, in this order."""

S = TypeVar("S", bound=Signed)


class MaskedFold:
    """The messages of one exchange. One that is refused changes nothing: its site counts as dropped out.

    Args:
        order: of the round.
        sites: agreed names.
        asked: sites that are asked to announce, by node.
        terms: of the round, as all sites have them.

    Attributes:
        why: sites that fell out, each with the stage and the reason; those of the last two stages are in the sum.
        heads: what sites have told of their ledgers.
    """

    def __init__(self, order: RoundOrder, sites: tuple[str, ...], asked: Mapping[int, str], terms: Terms) -> None:
        self.order, self.sites, self.asked, self.terms = order, sites, asked, terms
        self.why: dict[str, str] = {}
        self.heads: dict[str, LedgerHead] = {}
        self._model_hash, self._study_digest = array_digest(order.model), order.study.digest()
        self._said: dict[str, dict[str, Signed]] = {}
        self._replies: dict[str, MaskedReply] = {}
        self._roll: Roll | None = None
        self._tally: Tally | None = None
        self._totals: Totals | None = None
        self._taking: dict[Asked, Callable[[str, Message], Signed]] = {
            "announce": self._announced,
            "deal": self._dealt,
            "mask": self._masked,
            "confirm": self._confirmed,
            "reveal": self._revealed,
        }

    def take(self, stage: Asked, site: str, message: Message) -> str:
        """Take one answer; the value is why it doesn't count, empty where it does."""
        try:
            if message.has_error():
                raise MessageError(reported(message.error)[1])
            self._said.setdefault(stage, {})[site] = self._taking[stage](site, message)
        except (MessageError, MaskingError) as error:
            self.drop(stage, site, str(error))
            return self.why[site]
        return ""

    def drop(self, stage: Asked, site: str, reason: str = TOO_LATE) -> None:
        """Note that a site fell out."""
        self.why[site] = reason_of(f"{stage}: {reason}")

    def said(self, stage: Asked) -> dict[str, bytes]:
        """Messages of a stage by site, to be relayed."""
        return {site: message.to_bytes() for site, message in sorted(self._said.get(stage, {}).items())}

    def close(self, stage: Asked) -> None:
        """Go on with what has come; at the end, open the sum.

        Raises:
            MaskingError: too little has come, or the sum can't be opened or isn't what such sites can give.
        """
        if stage == "announce":
            self._roll = self._enrol()
        elif stage == "deal":
            self._tally = Tally(self.roll, [m for m in self._said["deal"].values() if isinstance(m, Dealing)])
        elif stage == "mask":
            self.tally.close()
        elif stage == "reveal":
            self._totals = Totals.unpack(self.terms.layout, self.tally.unmask(), len(self._replies))
            self._check_sum(self._totals)

    @property
    def roll(self) -> Roll:
        """Who has announced keys."""
        if self._roll is None:
            raise MaskingError("nobody has announced keys")
        return self._roll

    @property
    def tally(self) -> Tally:
        """The sum under masks."""
        if self._tally is None:
            raise MaskingError("nobody has dealt shares")
        return self._tally

    def record(self, absent: Mapping[str, str]) -> RoundRecord:
        """What happened.

        Args:
            absent: reasons of agreed sites that were not asked.
        """
        totals = self._totals
        # With differential privacy each site counts as one, which is no number of images.
        counts = {} if totals is None or self.order.study.dp else dict(totals.counts)
        return record_of(
            self.order,
            self.sites,
            self.asked.values(),
            dict(sorted(self._replies.items())),
            {**absent, **self.why},
            n_images=counts.get("n_images", 0) if self.order.steps else 0,
            validation_error=totals.metrics.get("validation_error", math.inf) if totals else math.inf,
            by_site={},
            images={},
            files={},
            ledgers=dict(sorted(self.heads.items())),
            means=dict(sorted(totals.metrics.items())) if totals else {},
            totals=counts,
        )

    def mean(self) -> dict[str, NDArray[np.float64]]:
        """The sites' mean update.

        Raises:
            ValueError: the sum was not opened.
        """
        if self._totals is None:
            raise ValueError("the mean of a sum that was not opened")
        return self._totals.update.mean()

    def _enrol(self) -> Roll:
        """All who announced, without those whose keys stand elsewhere too."""
        found = {site: m for site, m in self._said["announce"].items() if isinstance(m, Announcement)}
        while True:
            try:
                return Roll.of(self.terms, found.values())
            except MaskingError as error:
                if error.culprit not in found:
                    raise
                self.drop("announce", error.culprit, error.message)
                del found[error.culprit], self._said["announce"][error.culprit]

    def _announced(self, site: str, message: Message) -> Announcement:
        found = self._signed("announce", Announcement, site, message)
        check_announcement(self.terms, found)
        return found

    def _dealt(self, site: str, message: Message) -> Dealing:
        found = self._signed("deal", Dealing, site, message)
        self.roll.check_dealing(found)
        return found

    def _masked(self, site: str, message: Message) -> MaskedInput:
        reply = MaskedReply.from_record(message.content)
        self._require(site, reply)
        if (reply.study_digest, reply.model_hash) != (self._study_digest, self._model_hash):
            raise MessageError("answers another study or model")
        if problem := privacy_problem(reply, self.order):
            raise MessageError(problem)
        found = _of(MaskedInput, site, reply.message)
        self.tally.add(found, reply.masked)
        self._replies[site] = MaskedReply(**{**vars(reply), "masked": reply.masked[:0]})
        return found

    def _confirmed(self, site: str, message: Message) -> Confirmation:
        found = self._signed("confirm", Confirmation, site, message)
        self.tally.confirm(found)
        return found

    def _revealed(self, site: str, message: Message) -> Reveal:
        found = self._signed("reveal", Reveal, site, message)
        self.tally.reveal(found)
        return found

    def _signed(self, stage: Asked, kind: type[S], site: str, message: Message) -> S:
        reply = StageReply.from_record(message.content)
        self._require(site, reply)
        if reply.stage != stage:
            raise MessageError("answers another stage")
        return _of(kind, site, reply.message)

    def _require(self, site: str, reply: StageReply | MaskedReply) -> None:
        if reply.site != site:
            raise MessageError(f"answers as '{reply.site}', which it is not")
        if reply.round != self.order.round:
            raise MessageError("answers another round")
        self.heads[site] = (reply.ledger_length, reply.ledger_head)

    def _check_sum(self, totals: Totals) -> None:
        """In place of each update's norm and each metric: what no sum of sites that keep to the study can be."""
        study, hint = self.order.study, "begin another run without it; who it is can't be told from a sum"
        largest = study.federation.clip_update_norm
        if largest is not None and self.order.steps:
            norm = math.sqrt(math.fsum(float(np.square(mean).sum()) for mean in totals.update.mean().values()))
            if norm > largest * (1 + 1e-6):
                raise MaskingError(
                    f"the mean update's norm is {norm:.3g}, and no site may send more than {largest:g}: "
                    "some site didn't shorten its own",
                    hint,
                )
        if totals.metrics.get("validation_error", 0.0) < 0:
            raise MaskingError("the mean validation error is negative: some site gave a wrong one", hint)


def _of(kind: type[S], site: str, text: str) -> S:
    found = kind.from_bytes(text.encode())
    if found.site != site:
        raise MessageError(f"gives a message of '{found.site}' for its own")
    return found
