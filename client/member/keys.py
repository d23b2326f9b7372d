"""The key by which a site proves who it is: made at the site; only its public half is sent."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ra_core.config import SiteConfig
from ra_core.errors import ConfigError
from ra_core.files import write_atomically
from ra_core.keys import fingerprint, public_line
from ra_core.settings import load_config

__all__ = ["make_key", "site_key_path"]


def site_key_path(site: Path) -> Path:
    """Where a site config says that the private key is.

    Raises:
        ConfigError: it doesn't say, or is no good itself.
    """
    server = load_config(site, SiteConfig).server
    if server is None or server.private_key is None:
        raise ConfigError(f"{site}: server.private_key is not set", "set it, for example to site.key, or give --out")
    return server.private_key


def make_key(path: Path) -> list[str]:
    """Make a private key, and its public one beside it; the value says in lines what to do with them.

    Args:
        path: of the private key; the public one's ends in `.pub`.

    Raises:
        ConfigError: one of the two is there already.
        OSError: the folder can't be written.
    """
    public_path = path.with_name(f"{path.name}.pub")
    for there in (path, public_path):
        if there.exists():
            hint = "it may be the one that the consortium has admitted; give another --out, or move it away yourself"
            raise ConfigError(f"{there}: is there already", hint)
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    write_atomically(path, private, mode=0o600)
    write_atomically(public_path, f"{public_line(key.public_key())}\n".encode())
    return [
        f"made {path}: it stays on this machine, and nobody else may read it",
        f"send {public_path} to the consortium, and tell its fingerprint on another way, for example by phone:",
        fingerprint(key.public_key()),
    ]
