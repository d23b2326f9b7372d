"""What a site needs to answer an order: its policy, its ledger, and where it is told what stayed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from client.ledger.book import Book, Ledger
from client.ledger.line import Head
from client.member.station import EVENTS
from client.repeats import beyond_updates, other_scores, repeats, uninvited
from client.seat import Seat
from client.spending import require_left
from client.terms import masks, objections
from ra_core.config import PolicyConfig, SiteConfig
from ra_core.daemons.events import Events
from ra_core.errors import ReleaseError
from ra_core.messages import MaskedOrder, ModelOrder, Order, StageOrder

__all__ = ["Door", "require_none"]


@dataclass(frozen=True)
class Door:
    """What a site needs to let anything out.

    Attributes:
        site: its name.
        policy: its rules.
        ledger: in which each message is written first.
        events: where the site is told why something stayed; it names no file and no patient.
        seat: in masked rounds.
    """

    site: str
    policy: PolicyConfig
    ledger: Ledger
    events: Events
    seat: Seat

    @classmethod
    def of(cls, config: SiteConfig, state: Path) -> Door:
        """Of a site with its state folder."""
        name = config.data.site
        return cls(name, config.policy, Ledger.of(state, name), Events(state / EVENTS), Seat.of(config, state))

    def receive(self, order: Order) -> None:
        """Before any work on an order: keep what it acknowledges, and refuse one that no answer could leave for.

        Raises:
            ReleaseError: the policy objects to the order; not to one to join, which a refusal answers.
            PrivacyBudgetError: keys are asked for, of a masked round that no privacy is left for. Later, when figures
                are asked for, the round and with it the run would be lost to all.
            MaskingError: masked figures are asked for another task than the announced one, such as another model, or
                out of turn: nothing is trained, and no privacy spent.
            LedgerError: the ledger can't be used, or isn't what the server knows of it.
        """
        with self.ledger.opened() as book:
            if not isinstance(order, StageOrder):
                book.acknowledge(Head(order.ledger_length, order.ledger_head))
            if isinstance(order, ModelOrder | StageOrder):
                require_none(self.objections(order, book))
            if isinstance(order, StageOrder) and order.stage == "announce" and order.steps and order.study.dp:
                require_left(book, self.policy, order)
        if isinstance(order, MaskedOrder):  # the model's hash is none of the ledger's business: its lock is free again
            self.seat.require_dealt(order)

    def objections(self, order: Order, book: Book) -> list[str]:
        """Why the site doesn't answer this order; empty where it does.

        Args:
            order: that came.
            book: the ledger, open.

        Raises:
            ConfigError: the signing key can't be read.
        """
        return [
            *objections(self.policy, order, book.spent, book.spendings, book.begun),
            *uninvited(order, book.answered),
            *repeats(order, book.answered),
            *beyond_updates(self.policy, order, book.answered, len(book.spent)),
            *other_scores(self.policy, order, book.answered, book.spent),
            *self.seat.objections(order),
            *self._to_a_ledger_unsaid(book),
        ]

    def _to_a_ledger_unsaid(self, book: Book) -> list[str]:
        # What has left under masks is known by the ledger alone: with an empty one in its place the same figures would
        # leave again, in another sum or in the clear. A config that lists no site's key can't tell that the site ever
        # masked, and so a new member, with the config of its kit, isn't held up.
        if not masks(self.seat.keyring) or book.begun:
            return []
        why = "nobody has said that nothing left before this ledger: `ra-client ledger begin`"
        return [f"secure_aggregation.sites: {why}"]

    def tell(self, why: str) -> None:
        """Tell the site that something stayed here; a full disk may be the reason, so that it need not succeed."""
        with suppress(OSError):
            self.events.tell("withheld", why=why)


def require_none(why: Sequence[str]) -> None:
    """No objections.

    Raises:
        ReleaseError: there are; it names all of them.
    """
    if why:
        raise ReleaseError("; ".join(why), "policy: in the site config is the hospital's to change")
