"""The keys by which a site proves who it is, to the server and to other sites: made at the site, and kept there."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ra_core.config import SiteConfig
from ra_core.errors import ConfigError
from ra_core.files import write_atomically
from ra_core.keys import fingerprint, public_line
from ra_core.settings import load_config

__all__ = ["make_key", "make_keys", "make_signing_key", "site_key_path"]


def site_key_path(site: Path) -> Path:
    """Where a site config says that the private key is.

    Raises:
        ConfigError: it doesn't say, or is no good itself.
    """
    server = load_config(site, SiteConfig).server
    if server is None or server.private_key is None:
        raise ConfigError(f"{site}: server.private_key is not set", "set it, for example to site.key, or give --out")
    return server.private_key


def make_keys(site: Path) -> list[str]:
    """Make those keys that a site config names and that are not there yet; the value says what to do with them.

    Raises:
        ConfigError: the config is no good or names none, or all are there.
        OSError: a folder can't be written.
    """
    login, keyring = site_key_path(site), load_config(site, SiteConfig).secure_aggregation
    if keyring is None:
        return make_key(login)
    if keyring.signing_key.exists():
        return make_key(login)
    return [*([] if login.exists() else [*make_key(login), ""]), *make_signing_key(keyring.signing_key)]


def make_signing_key(path: Path) -> list[str]:
    """Make the key by which other sites know this one in secure aggregation, and its public one beside it.

    Args:
        path: of the private key; the public one's ends in `.pub`.

    Raises:
        ConfigError: one of the two is there already.
        OSError: the folder can't be written.
    """
    key = Ed25519PrivateKey.generate()
    _write(path, key)
    return [
        f"made {path}: by it the other sites know this one; it stays on this machine, and nobody else may read it",
        "tell its fingerprint to every other site itself, by phone and not through the server, for its",
        "secure_aggregation.sites; set it in your own too:",
        fingerprint(key.public_key()),
    ]


def make_key(path: Path) -> list[str]:
    """Make a private key, and its public one beside it; the value says in lines what to do with them.

    Args:
        path: of the private key; the public one's ends in `.pub`.

    Raises:
        ConfigError: one of the two is there already.
        OSError: the folder can't be written.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    public_path = _write(path, key)
    return [
        f"made {path}: it stays on this machine, and nobody else may read it",
        f"send {public_path} to the consortium, and tell its fingerprint on another way, for example by phone:",
        fingerprint(key.public_key()),
    ]


def _write(path: Path, key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> Path:
    """Both halves, over nothing; the value is where the public one is."""
    public_path = path.with_name(f"{path.name}.pub")
    for there in (path, public_path):
        if there.exists():
            hint = "others may know this site by it; give another --out, or move it away yourself"
            raise ConfigError(f"{there}: is there already", hint)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    write_atomically(path, private, mode=0o600)
    write_atomically(public_path, f"{public_line(key.public_key())}\n".encode())
    return public_path
