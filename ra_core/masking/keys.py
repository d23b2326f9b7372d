"""Keys of secure aggregation: X25519 pairs of one round, and keys that two sites derive alike."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["KEY_BYTES", "agree", "derive", "is_usable", "new_private", "public_of"]

KEY_BYTES = 32


def new_private() -> bytes:
    """A private key from the operating system's generator, raw."""
    return X25519PrivateKey.generate().private_bytes_raw()


def public_of(private: bytes) -> bytes:
    """The public key, raw."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def derive(secret: bytes, context: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869) without salt.

    Args:
        secret: uniform, or of a key agreement.
        context: RFC 5869's `info`; of `Terms.context`.

    Returns:
        32 bytes.
    """
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=context).derive(secret)


def agree(private: bytes, public: bytes, context: bytes) -> bytes:
    """What both sides of an X25519 agreement (RFC 7748) derive for one use.

    Raises:
        ValueError: the public key is not usable.
    """
    shared = X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    return derive(shared, context)


def is_usable(public: bytes) -> bool:
    """Whether this is none of the few public keys with which every agreement gives zero."""
    try:
        agree(new_private(), public, b"")
    except ValueError:
        return False
    return True
