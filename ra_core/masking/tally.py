"""The server's side of a masked round: it adds vectors that it can't read, and unmasks their sum alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ra_core.errors import MaskingError
from ra_core.masking.dealing import check_share, seed_commitment
from ra_core.masking.keys import public_of
from ra_core.masking.layout import Words
from ra_core.masking.messages import Confirmation, Dealing, MaskedInput, Reveal, vector_digest
from ra_core.masking.roll import Roll
from ra_core.masking.sharing import combine
from ra_core.masking.stream import add_mask, pair_key, pair_sign, self_key

__all__ = ["Tally"]


class Tally:
    """From the masked vectors of a round to their sum, in memory for one vector, whatever the number of sites.

    A message that is refused changes nothing: its site counts as one that has dropped out.

    Args:
        roll: announcements as they were relayed to all sites.
        dealings: as they were relayed.

    Raises:
        MaskingError: as `Roll.check_dealings`.
    """

    def __init__(self, roll: Roll, dealings: Iterable[Dealing]) -> None:
        self._roll = roll
        self._dealings = roll.check_dealings(dealings)
        self._sum = np.zeros(roll.terms.layout.size, np.uint64)
        self._added: set[str] = set()
        self._closed = False
        self._confirmed: set[str] = set()
        self._reveals: dict[str, Reveal] = {}

    def add(self, message: MaskedInput, vector: Words) -> None:
        """Add one site's masked vector.

        Raises:
            MaskingError: it is not the one that the site has signed, is masked for other dealers, came twice, or came
                after the sum was closed.
        """
        self._roll.check(message)
        site = message.site
        if self._closed or site in self._added or site not in self._dealings:
            raise MaskingError(f"'{site}' has not dealt, or sends its figures twice or too late", culprit=site)
        if message.dealt != tuple(self._dealings):
            raise MaskingError(f"'{site}' has masked its figures for other sites", culprit=site)
        if vector.dtype != np.uint64 or vector.shape != self._sum.shape or vector_digest(vector) != message.vector:
            raise MaskingError(f"the masked figures of '{site}' are not those that it has signed", culprit=site)
        with self._roll.terms.layout.carrying(self._sum, 1):
            self._sum += vector
        self._added.add(site)

    def close(self) -> tuple[str, ...]:
        """Who is in the sum, ascending, to be confirmed by them; nobody is added any more.

        Raises:
            MaskingError: they are too few, and nothing can be opened.
        """
        self._roll.terms.require(len(self._added), "have sent masked figures")
        self._closed = True
        return self._survivors

    def confirm(self, message: Confirmation) -> None:
        """Take a survivor's confirmation, which is relayed to the others.

        Raises:
            MaskingError: it is of another division of the sites.
        """
        self._require_closed()
        self._roll.check_confirmation(message, self._survivors, self._dropped)
        self._confirmed.add(message.site)

    def reveal(self, message: Reveal) -> None:
        """Take a survivor's shares.

        Raises:
            MaskingError: they are for other sites than were asked, or are not the ones dealt.
        """
        self._require_closed()
        self._roll.check(message)
        holder = message.site
        asked = set(self._survivors), set(self._dropped)
        if holder not in self._added or (set(message.seeds), set(message.keys)) != asked:
            raise MaskingError(f"'{holder}' reveals other shares than it was asked for", culprit=holder)
        for dealer, share in message.seeds.items():
            check_share(self._roll, self._dealings[dealer], holder, share, holder, seed=True)
        for dealer, share in message.keys.items():
            check_share(self._roll, self._dealings[dealer], holder, share, holder, seed=False)
        self._reveals[holder] = message

    def unmask(self) -> Words:
        """The sum of the survivors' vectors.

        Raises:
            MaskingError: fewer than the threshold have revealed, and nothing was opened; or a dealer's shares give
                another secret than it has committed to, and the sum can't be opened.
        """
        self._require_closed()
        self._roll.terms.require(len(self._reveals), "have revealed shares")
        seeds = {site: self._seed(site) for site in self._survivors}
        keys = {site: self._masking_key(site) for site in self._dropped}
        total, layout = self._sum.copy(), self._roll.terms.layout
        for site, seed in seeds.items():
            add_mask(layout, total, self_key(self._roll, self._dealings, site, seed), -1)
        for gone, private in keys.items():
            for site in self._survivors:
                public = self._roll.announcements[site].masking
                # As the survivor's mask is taken off, so the one that the dropped site would have added.
                key = pair_key(self._roll, self._dealings, gone, site, private, public)
                add_mask(layout, total, key, pair_sign(gone, site))
        return total

    @property
    def _survivors(self) -> tuple[str, ...]:
        return tuple(sorted(self._added))

    @property
    def _dropped(self) -> tuple[str, ...]:
        return tuple(sorted(self._dealings.keys() - self._added))

    def _require_closed(self) -> None:
        if not self._closed:
            raise MaskingError("nothing is opened before the sum is closed")

    def _seed(self, dealer: str) -> bytes:
        seed = self._combined({site: message.seeds[dealer] for site, message in self._reveals.items()})
        if seed_commitment(self._roll, dealer, seed) != self._dealings[dealer].seed:
            raise self._badly_dealt(dealer)
        return seed

    def _masking_key(self, dealer: str) -> bytes:
        private = self._combined({site: message.keys[dealer] for site, message in self._reveals.items()})
        if public_of(private) != self._roll.announcements[dealer].masking:
            raise self._badly_dealt(dealer)
        return private

    def _combined(self, shares: dict[str, bytes]) -> bytes:
        terms = self._roll.terms
        return combine({terms.sites.index(site) + 1: share for site, share in shares.items()}, terms.threshold)

    def _badly_dealt(self, dealer: str) -> MaskingError:
        return MaskingError(
            f"the shares that '{dealer}' has dealt don't give its secret",
            "run the round again without that site",
            dealer,
        )
