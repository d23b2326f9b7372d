"""A secret in shares of which so many give it back and fewer tell nothing; and shares sealed for who holds them.

The sharing is Shamir's (1979) over GF(2^128) from PyCryptodome, in two halves of 16 bytes. Flower wraps the same, but
pads to a third half, and takes shares of any length.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from Crypto.Protocol.SecretSharing import Shamir  # nosec B413 # of PyCryptodome, not of the abandoned PyCrypto
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from ra_core.errors import MaskingError

__all__ = ["SECRET_BYTES", "combine", "commitment", "open_sealed", "seal", "split"]

SECRET_BYTES = 32
"""Of a secret, and of each of its shares."""

_HALF = SECRET_BYTES // 2
_NONCE = 12


def split(secret: bytes, threshold: int, count: int) -> list[bytes]:
    """Shares of a secret, for numbers from 1.

    Args:
        secret: 32 bytes.
        threshold: shares that give it back.
        count: shares made.
    """
    halves = [dict(Shamir.split(threshold, count, secret[at : at + _HALF], ssss=False)) for at in (0, _HALF)]
    return [b"".join(half[number] for half in halves) for number in range(1, count + 1)]


def combine(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """The secret of a threshold's shares. Wrong ones give a wrong secret: `commitment` tells.

    Args:
        shares: by number, of which `split` made them; those of the lowest numbers are used.
        threshold: that they were made for.

    Raises:
        MaskingError: there are too few, a number can't be, or a share has another length.
    """
    if len(shares) < threshold:
        raise MaskingError(f"{len(shares)} shares don't open a secret that needs {threshold}")
    if min(shares) < 1 or any(len(share) != SECRET_BYTES for share in shares.values()):
        raise MaskingError("a share has a number or a length that can't be")
    used = sorted(shares.items())[:threshold]
    return b"".join(Shamir.combine([(n, share[at : at + _HALF]) for n, share in used], ssss=False) for at in (0, _HALF))


def commitment(secret: bytes, context: bytes) -> bytes:
    """SHA-256 by which a secret or share is known again; nobody finds one of 32 random bytes by it."""
    return hashlib.sha256(context + b"\n" + secret).digest()


def seal(plain: bytes, key: bytes, context: bytes) -> bytes:
    """Nonce, ciphertext and tag of ChaCha20-Poly1305 (RFC 8439); `context` has to be the same to open it."""
    nonce = os.urandom(_NONCE)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, plain, context)


def open_sealed(sealed: bytes, key: bytes, context: bytes) -> bytes:
    """What was sealed.

    Raises:
        MaskingError: it was altered, or sealed with another key or context.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], context)
    except (InvalidTag, ValueError):
        raise MaskingError("a sealed share can't be opened") from None
