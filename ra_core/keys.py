"""Keys by which a site proves who it is, in OpenSSH's format: to the server, an elliptic curve as Flower reads it."""

from __future__ import annotations

import base64

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["fingerprint", "parse_public_key", "public_line"]

_MAKE = "the site makes its own with `ra-client keygen` and sends the file that ends in .pub"


def fingerprint(key: ec.EllipticCurvePublicKey | Ed25519PublicKey) -> str:
    """What two people compare on the phone: `SHA256:...`, as `ssh-keygen -l` prints it."""
    digest = serialization.ssh_key_fingerprint(key, hashes.SHA256())
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def public_line(key: ec.EllipticCurvePublicKey | Ed25519PublicKey) -> str:
    """The key as one line of a `.pub` file, without a comment and without the line's end."""
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def parse_public_key(content: bytes) -> ec.EllipticCurvePublicKey:
    """Read a `.pub` file.

    Raises:
        ValueError: this is a private key, another format, or a kind of key that Flower doesn't take.
    """
    if b"PRIVATE KEY" in content:
        raise ValueError("this is a private key, which must never leave its site; have the site make a new one")
    try:
        key = serialization.load_ssh_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"this is no public key in OpenSSH's format: {_MAKE}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError(f"this is no key of an elliptic curve (ecdsa-sha2-...): {_MAKE}")
    return key
