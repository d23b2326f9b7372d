"""The messages of a masked round: each signed by its site, and relayed by a server that can neither make nor alter one.

They are JSON with bytes in base64; the masked vector itself travels beside its message as an array.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ra_core.config import DIGEST, SITE_NAME
from ra_core.errors import MaskingError
from ra_core.masking.layout import Words
from ra_core.masking.terms import Terms, canonical

__all__ = [
    "Announcement",
    "Confirmation",
    "Dealing",
    "Digest",
    "Key",
    "Later",
    "MaskedInput",
    "Reveal",
    "Signed",
    "SiteName",
    "stamp",
    "vector_digest",
]

Key = Annotated[bytes, Field(min_length=32, max_length=32)]
"""A raw key, secret, share or SHA-256."""

Sealed = Annotated[bytes, Field(min_length=92, max_length=92)]
"""Two shares, sealed: nonce 12, ciphertext 64, tag 16."""

Digest = Annotated[str, StringConstraints(pattern=f"^{DIGEST.pattern}$")]
SiteName = Annotated[str, StringConstraints(pattern=f"^{SITE_NAME.pattern}$")]

_LONGEST = 1 << 20


class Signed(BaseModel):
    """What every message holds.

    Attributes:
        run, round: that it belongs to.
        terms: `Terms.digest` at the site: sites, fingerprints, threshold and layout.
        site: who speaks.
        signature: Ed25519 over all other fields and the kind of the message.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, ser_json_bytes="base64", val_json_bytes="base64"
    )

    run: str
    round: int
    terms: Digest
    site: SiteName
    signature: bytes = b""

    def statement(self) -> bytes:
        """What is signed."""
        fields = self.model_dump(mode="json", exclude={"signature"})
        return canonical(["federated-ra masking", type(self).__name__, fields])

    def signed(self, identity: Ed25519PrivateKey) -> Self:
        """The same with the site's signature."""
        return self.model_copy(update={"signature": identity.sign(self.statement())})

    def to_bytes(self) -> bytes:
        """As it is sent."""
        return self.model_dump_json().encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """From what came. Nothing of it is believed before `Roll.check`.

        Raises:
            MaskingError: it is too long, or its fields are not those of this kind of message.
        """
        if len(data) > _LONGEST:
            raise MaskingError(f"a {cls.__name__} of more than {_LONGEST} bytes")
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise MaskingError(f"a {cls.__name__} can't be read ({error.error_count()} fields)") from None


class Announcement(Signed):
    """First: the site's public keys of this round.

    Attributes:
        identity: its long-lived signing key, of which the others know the fingerprint.
        masking: X25519 key for pairwise masks. Of one round alone: the others open it when the site drops out.
        sharing: X25519 key for sealing shares.
    """

    identity: Key
    masking: Key
    sharing: Key


class Later(Signed):
    """What every later message holds too.

    Attributes:
        heard: digest of all announcements that the site has seen; it ties the message to these keys.
    """

    heard: Digest


class Dealing(Later):
    """Second: the site's secrets in shares, one for each site that has announced.

    Attributes:
        sealed: by holder, but for itself: a share of the self mask's seed and one of the masking key.
        seed: commitment to the self mask's seed.
        seed_shares, key_shares: commitments to each holder's shares, so that a wrong one is known for what it is.
    """

    sealed: dict[SiteName, Sealed]
    seed: Key
    seed_shares: dict[SiteName, Key]
    key_shares: dict[SiteName, Key]


class MaskedInput(Later):
    """Third: goes with the masked vector.

    Attributes:
        dealt: sites whose dealings it has, with which it shares masks; itself among them. Ascending.
        vector: SHA-256 of the masked words.
    """

    dealt: tuple[SiteName, ...]
    vector: Key


class Confirmation(Later):
    """Fourth: the one division of the sites for which this site will reveal anything.

    Attributes:
        survivors: whose masked vectors are in the sum, ascending.
        dropped: who dealt and then sent none, ascending.
    """

    survivors: tuple[SiteName, ...]
    dropped: tuple[SiteName, ...]


class Reveal(Later):
    """Last: a share for each site that dealt, of one of its two secrets.

    Attributes:
        seeds: shares of the survivors' self mask seeds.
        keys: shares of the masking keys of those who dropped out.
    """

    seeds: dict[SiteName, Key]
    keys: dict[SiteName, Key]


def stamp(terms: Terms, site: str) -> dict[str, Any]:
    """The fields that every message begins with."""
    return {"run": terms.run, "round": terms.round, "terms": terms.digest, "site": site}


def vector_digest(words: Words) -> bytes:
    """SHA-256 of the words, little-endian."""
    return hashlib.sha256(words.astype("<u8", copy=False).tobytes()).digest()
