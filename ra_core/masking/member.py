"""A site's side of a masked round: five messages, each once and in this order (Bonawitz et al. 2017)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ra_core.errors import MaskingError
from ra_core.masking.dealing import deal, open_dealing
from ra_core.masking.keys import new_private, public_of
from ra_core.masking.layout import Words
from ra_core.masking.messages import (
    Announcement,
    Confirmation,
    Dealing,
    MaskedInput,
    Reveal,
    stamp,
    vector_digest,
)
from ra_core.masking.roll import Roll, by_site, check_announcement
from ra_core.masking.sharing import SECRET_BYTES
from ra_core.masking.state import MemberState, Stage
from ra_core.masking.stream import add_mask, pair_key, pair_sign, self_key
from ra_core.masking.terms import Terms

__all__ = ["Member"]


class Member:
    """A site in one round. Each method checks all that it is given, and changes nothing where it raises.

    Args:
        state: `MemberState`, as it was after the last message.
        identity: the site's long-lived signing key.
    """

    def __init__(self, state: MemberState, identity: Ed25519PrivateKey) -> None:
        self.state, self._identity = state, identity

    @classmethod
    def announce(cls, terms: Terms, site: str, identity: Ed25519PrivateKey) -> tuple[Member, Announcement]:
        """Begin with fresh keys and a fresh seed, all from the operating system's generator.

        Raises:
            MaskingError: the terms pin another key for this site.
        """
        masking, sharing = new_private(), new_private()
        message = Announcement(
            **stamp(terms, site),
            identity=identity.public_key().public_bytes_raw(),
            masking=public_of(masking),
            sharing=public_of(sharing),
        ).signed(identity)
        check_announcement(terms, message)
        state = MemberState(
            terms=terms,
            site=site,
            stage="announced",
            masking=masking,
            sharing=sharing,
            seed=os.urandom(SECRET_BYTES),
            announcements=(message,),
        )
        return cls(state, identity), message

    def deal(self, announcements: Iterable[Announcement]) -> Dealing:
        """Share the seed and the masking key among all who have announced.

        Args:
            announcements: of all sites that take part, this one's among them.

        Raises:
            MaskingError: as `Roll.of`, or this site's own announcement is missing or another one.
        """
        self.require("announced")
        roll = Roll.of(self.state.terms, announcements)
        if roll.announcements.get(self.state.site) != self.state.announcements[0]:
            raise MaskingError("the server has left out or replaced this site's own announcement")
        state = self.state
        dealing, own = deal(roll, state.site, state.seed, state.masking, state.sharing)
        self._go("dealt", announcements=tuple(roll.announcements.values()), shares={state.site: own})
        return dealing.signed(self._identity)

    def mask(self, dealings: Iterable[Dealing], vector: Words) -> tuple[MaskedInput, Words]:
        """Hide this site's vector under its self mask and one mask for each other dealer.

        Args:
            dealings: of all sites whose masks are to cancel, this one's among them.
            vector: of the terms' layout; it is not changed.

        Returns:
            The message, and the masked vector that goes with it.

        Raises:
            MaskingError: as `Roll.check_dealings`; a share can't be opened or is not the one committed to; this site's
                dealing is missing; or the vector has another length.
        """
        self.require("dealt")
        roll = self._roll()
        if vector.dtype != "uint64" or vector.shape != (roll.terms.layout.size,):
            raise MaskingError("the vector is not of the round's layout")
        found = roll.check_dealings(dealings)
        if self.state.site not in found:
            raise MaskingError("the server has left out this site's own dealing")
        shares = self.state.shares | {
            dealer: open_dealing(roll, dealing, self.state.site, self.state.sharing)
            for dealer, dealing in found.items()
            if dealer != self.state.site
        }
        masked = vector.copy()
        add_mask(roll.terms.layout, masked, self_key(roll, found, self.state.site, self.state.seed), 1)
        for other in found.keys() - {self.state.site}:
            public = roll.announcements[other].masking
            key = pair_key(roll, found, self.state.site, other, self.state.masking, public)
            add_mask(roll.terms.layout, masked, key, pair_sign(self.state.site, other))
        message = MaskedInput(
            **stamp(roll.terms, self.state.site), heard=roll.digest, dealt=tuple(found), vector=vector_digest(masked)
        )
        self._go("masked", shares=shares)
        return message.signed(self._identity), masked

    def confirm(self, survivors: Sequence[str]) -> Confirmation:
        """Sign who is in the sum; this site will reveal shares for this division of the dealers and no other.

        Args:
            survivors: sites whose masked vectors the server has, in any order.

        Raises:
            MaskingError: they are too few, unknown, or this site, which sent its vector, is not among them.
        """
        self.require("masked")
        roll, there = self._roll(), set(survivors)
        if self.state.site not in there or not there <= self.state.shares.keys() or len(there) < len(survivors):
            raise MaskingError(
                "the server's list of survivors lacks this site, or names one twice or that hasn't dealt"
            )
        roll.terms.require(len(there), "have sent masked figures")
        dropped = tuple(sorted(self.state.shares.keys() - there))
        message = Confirmation(
            **stamp(roll.terms, self.state.site), heard=roll.digest, survivors=tuple(sorted(there)), dropped=dropped
        )
        self._go("confirmed", survivors=message.survivors, dropped=dropped)
        return message.signed(self._identity)

    def reveal(self, confirmations: Iterable[Confirmation]) -> Reveal:
        """Give shares of the survivors' seeds and of the dropped sites' keys: never both of one site.

        Args:
            confirmations: of a threshold of survivors.

        Raises:
            MaskingError: they are too few, or one is of another division than the one that this site has confirmed.
        """
        self.require("confirmed")
        state, roll = self.state, self._roll()
        found = by_site(confirmations, lambda m: roll.check_confirmation(m, state.survivors, state.dropped))
        roll.terms.require(len(found), "have confirmed the survivors")
        message = Reveal(
            **stamp(roll.terms, state.site),
            heard=roll.digest,
            seeds={dealer: state.shares[dealer][0] for dealer in state.survivors},
            keys={dealer: state.shares[dealer][1] for dealer in state.dropped},
        )
        self._go("revealed")
        return message.signed(self._identity)

    def require(self, stage: Stage) -> None:
        """Nothing is said before its turn, or twice.

        Raises:
            MaskingError: the site has said something else last.
        """
        if self.state.stage != stage:
            raise MaskingError(
                f"this site has {self.state.stage} in round {self.state.terms.round} and can't be asked that now",
                "each question of a round is answered once; begin the round anew with fresh keys",
            )

    def _go(self, stage: Stage, **changed: object) -> None:
        self.state = self.state.model_copy(update={"stage": stage, **changed})

    def _roll(self) -> Roll:
        return Roll.of(self.state.terms, self.state.announcements)
