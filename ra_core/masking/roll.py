"""Who takes part in a masked round, by keys that each site and the server check for themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ra_core.errors import MaskingError
from ra_core.keys import fingerprint
from ra_core.masking.keys import is_usable
from ra_core.masking.messages import Announcement, Confirmation, Dealing, Later, Signed
from ra_core.masking.terms import Terms

__all__ = ["Roll", "by_site", "check_announcement"]

S = TypeVar("S", bound=Signed)


def check_announcement(terms: Terms, message: Announcement) -> None:
    """Whether an announcement is of a pinned site, signed by it, for this round, and of usable keys.

    Raises:
        MaskingError: it isn't; names the site.
    """
    site = message.site
    if site not in terms.pins:
        raise MaskingError(f"'{site}' announces keys and is none of the agreed sites", culprit=site)
    if fingerprint(Ed25519PublicKey.from_public_bytes(message.identity)) != terms.pins[site]:
        raise MaskingError(
            f"the signing key of '{site}' is not the pinned one",
            "ask the site, on another way than the server, for its fingerprint",
            site,
        )
    _check_signed(terms, message, message.identity)
    if not (is_usable(message.masking) and is_usable(message.sharing)):
        raise MaskingError(f"'{site}' announces a key with which every agreement is the same", culprit=site)


@dataclass(frozen=True)
class Roll:
    """The announcements of a round, all checked.

    Attributes:
        terms: of the round.
        announcements: by site, ascending.
    """

    terms: Terms
    announcements: Mapping[str, Announcement]

    @classmethod
    def of(cls, terms: Terms, announcements: Iterable[Announcement]) -> Roll:
        """Check them all.

        Raises:
            MaskingError: one is unpinned, wrongly signed, of another run or round, or holds a key that stands
                elsewhere too; or they are too few.
        """
        found = by_site(announcements, lambda message: check_announcement(terms, message))
        terms.require(len(found), "have announced keys")
        taken: set[bytes] = set()
        for site, message in found.items():
            if len(taken | {message.masking, message.sharing}) < len(taken) + 2:
                raise MaskingError(f"'{site}' announces a key that stands elsewhere too", culprit=site)
            taken |= {message.masking, message.sharing}
        return cls(terms, found)

    @cached_property
    def digest(self) -> str:
        """Of all announcements: equal where the server has told the same ones."""
        return hashlib.sha256(b"\n".join(m.statement() for m in self.announcements.values())).hexdigest()

    def check(self, message: Later) -> None:
        """Whether a message is of a site of this roll, signed by it, and made for these announcements.

        Raises:
            MaskingError: it isn't; names the site.
        """
        site, kind = message.site, type(message).__name__
        if site not in self.announcements:
            raise MaskingError(f"a {kind} of '{site}', which has announced no keys", culprit=site)
        _check_signed(self.terms, message, self.announcements[site].identity)
        if message.heard != self.digest:
            raise MaskingError(
                f"the {kind} of '{site}' is for other announcements",
                "it is of an earlier try of this round, or the server has told the sites different things",
                site,
            )

    def check_dealing(self, message: Dealing) -> None:
        """As `check`, and whether every other site of the roll gets its shares.

        Raises:
            MaskingError: it doesn't.
        """
        self.check(message)
        everyone = set(self.announcements)
        if set(message.sealed) != everyone - {message.site} or not (
            set(message.seed_shares) == set(message.key_shares) == everyone
        ):
            raise MaskingError(
                f"'{message.site}' has not dealt shares to the sites that announced keys", culprit=message.site
            )

    def check_dealings(self, messages: Iterable[Dealing]) -> dict[str, Dealing]:
        """All of a round, by site.

        Raises:
            MaskingError: as `check_dealing`, or a site deals twice, or they are too few.
        """
        found = by_site(messages, self.check_dealing)
        self.terms.require(len(found), "have dealt shares")
        return found

    def check_confirmation(self, message: Confirmation, survivors: tuple[str, ...], dropped: tuple[str, ...]) -> None:
        """As `check`, and whether a survivor has confirmed this division of the sites.

        Raises:
            MaskingError: it is another one.
        """
        self.check(message)
        if message.site not in survivors or (message.survivors, message.dropped) != (survivors, dropped):
            raise MaskingError(
                f"'{message.site}' was told of other survivors",
                "the server has asked the sites different things: reveal nothing, and ask its operator",
                message.site,
            )


def by_site(messages: Iterable[S], check: Callable[[S], None]) -> dict[str, S]:
    """Messages of one kind by site, ascending.

    Raises:
        MaskingError: as `check`, or two are of one site.
    """
    found: dict[str, S] = {}
    for message in messages:
        check(message)
        if message.site in found:
            raise MaskingError(f"two messages of one kind are of '{message.site}'", culprit=message.site)
        found[message.site] = message
    return dict(sorted(found.items()))


def _check_signed(terms: Terms, message: Signed, identity: bytes) -> None:
    site, kind = message.site, type(message).__name__
    if (message.run, message.round) != (terms.run, terms.round):
        raise MaskingError(f"the {kind} of '{site}' is of another run or round", culprit=site)
    try:
        Ed25519PublicKey.from_public_bytes(identity).verify(message.signature, message.statement())
    except InvalidSignature:
        raise MaskingError(
            f"the {kind} of '{site}' is not signed by it", "it was altered on its way, or never was the site's", site
        ) from None
    if message.terms != terms.digest:
        raise MaskingError(
            f"'{site}' has other terms",
            "its sites, fingerprints, threshold or layout differ: compare the configs",
            site,
        )
