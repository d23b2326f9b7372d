"""A site's two secrets, dealt to all who have announced keys: sealed for each, and committed to before all."""

from __future__ import annotations

from ra_core.errors import MaskingError
from ra_core.masking.keys import agree
from ra_core.masking.messages import Dealing, stamp
from ra_core.masking.roll import Roll
from ra_core.masking.sharing import SECRET_BYTES, commitment, open_sealed, seal, split

__all__ = ["Pair", "check_share", "deal", "open_dealing", "seed_commitment"]

Pair = tuple[bytes, bytes]
"""A share of a self mask's seed, and one of a masking key."""

_KINDS = ("seed share", "key share")


def deal(roll: Roll, site: str, seed: bytes, masking: bytes, sharing: bytes) -> tuple[Dealing, Pair]:
    """Share a site's secrets; a holder's number is its place among all agreed sites.

    Args:
        roll: of all who have announced.
        site: the dealer.
        seed: of its self mask.
        masking: its private masking key.
        sharing: its private sharing key.

    Returns:
        The message, not yet signed, and the dealer's own shares.
    """
    terms = roll.terms
    both = (split(secret, terms.threshold, len(terms.sites)) for secret in (seed, masking))
    dealt = dict(zip(terms.sites, zip(*both, strict=True), strict=True))
    shares: dict[str, Pair] = {holder: dealt[holder] for holder in roll.announcements}
    seed_shares, key_shares = (
        {holder: commitment(pair[at], _context(roll, site, holder, kind)) for holder, pair in shares.items()}
        for at, kind in enumerate(_KINDS)
    )
    message = Dealing(
        **stamp(terms, site),
        heard=roll.digest,
        sealed={
            holder: seal(b"".join(pair), *_key_and_context(roll, site, holder, sharing, holder))
            for holder, pair in shares.items()
            if holder != site
        },
        seed=seed_commitment(roll, site, seed),
        seed_shares=seed_shares,
        key_shares=key_shares,
    )
    return message, shares[site]


def open_dealing(roll: Roll, dealing: Dealing, site: str, sharing: bytes) -> Pair:
    """What a holder was dealt. The dealer has signed it all, so what is wrong is the dealer's fault.

    Args:
        roll: of the round.
        dealing: checked by `Roll.check_dealing`.
        site: the holder, not the dealer itself.
        sharing: the holder's private sharing key.

    Raises:
        MaskingError: it can't be opened, or is not what was committed to; names the dealer.
    """
    dealer = dealing.site
    try:
        plain = open_sealed(dealing.sealed[site], *_key_and_context(roll, dealer, site, sharing, dealer))
    except MaskingError as error:
        raise MaskingError(f"'{dealer}' to '{site}': {error.message}", "run without that site", dealer) from None
    pair = plain[:SECRET_BYTES], plain[SECRET_BYTES:]
    check_share(roll, dealing, site, pair[0], dealer, seed=True)
    check_share(roll, dealing, site, pair[1], dealer, seed=False)
    return pair


def check_share(roll: Roll, dealing: Dealing, holder: str, share: bytes, culprit: str, *, seed: bool) -> None:
    """Compare a share with what its dealer has committed to.

    Args:
        roll: of the round.
        dealing: of the dealer.
        holder: whose share it is.
        share: of the seed or of the masking key.
        culprit: whose fault another share is.
        seed: whether it is of the seed.

    Raises:
        MaskingError: it is another one.
    """
    committed, kind = (dealing.seed_shares, _KINDS[0]) if seed else (dealing.key_shares, _KINDS[1])
    if commitment(share, _context(roll, dealing.site, holder, kind)) != committed[holder]:
        raise MaskingError(
            f"the {kind} that '{holder}' holds of '{dealing.site}' is not the one committed to", "", culprit
        )


def seed_commitment(roll: Roll, site: str, seed: bytes) -> bytes:
    """What a site commits to its seed with; the masking key needs none, for its public key is one."""
    return commitment(seed, _context(roll, site, site, "seed"))


def _context(roll: Roll, dealer: str, holder: str, purpose: str) -> bytes:
    return roll.terms.context(purpose, roll.terms.digest, roll.digest, dealer, holder)


def _key_and_context(roll: Roll, dealer: str, holder: str, private: bytes, other: str) -> tuple[bytes, bytes]:
    """Of sealing: the key is derived from one's own private key and the other's public one."""
    context = _context(roll, dealer, holder, "share")
    return agree(private, roll.announcements[other].sharing, context), context
