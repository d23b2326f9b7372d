"""Keys, certificates and kits of a consortium. What is there stays as it is: what others hold never changes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from ra_core.errors import ConfigError
from ra_core.files import write_atomically
from server.bundle import bundle_hash
from server.consortium import Consortium
from server.provisioning.certificates import (
    authority,
    certified_names,
    expiring,
    key_text,
    new_key,
    private_key,
    server_certificate,
    server_names,
    text,
)
from server.provisioning.kit import kit_doubts, write_kit
from server.provisioning.nginx import nginx_configuration
from server.provisioning.registry import SiteRecord, edited, load_sites, save_site, timestamp

__all__ = ["load_authority", "provision"]


def provision(consortium: Consortium, renew: bool, now: dt.datetime) -> list[str]:
    """Make what is missing; the value says in lines what was done, and what the operator has to see to.

    Args:
        consortium: of the operator.
        renew: make a new certificate for the server, though the one that is there fits.
        now: from when new certificates are valid.

    Raises:
        ConfigError: what is there is damaged or incomplete, or a path doesn't suit nginx.
        OSError: the folder can't be written.
    """
    with edited(consortium):
        configuration = nginx_configuration(consortium)  # the path's faults come before any file
        consortium.tls.mkdir(parents=True, exist_ok=True, mode=0o700)
        told = [*_authority(consortium, now), *_server(consortium, renew, now)]
        if not _same(consortium.nginx, configuration):
            write_atomically(consortium.nginx, configuration.encode())
            told.append(f"wrote {consortium.nginx}: include it in nginx's http {{ }} and reload nginx")
        told += _sites(consortium, now)
        doubts = [*_open_keys(consortium), *_strays(consortium), *expiring(consortium, now)]
    return [*(told or ["all is there already; nothing was changed"]), *(f"mind: {doubt}" for doubt in doubts)]


def load_authority(consortium: Consortium) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """The authority's key and certificate, to sign with.

    Raises:
        ConfigError: one is missing or damaged, or they are not a pair.
    """
    key = _load_key(consortium.ca_key)
    certificate = _load_certificate(consortium.ca_certificate)
    if key.public_key() != certificate.public_key():
        raise ConfigError(f"{consortium.ca_key}: is not the key of {consortium.ca_certificate.name}", _BACKUP)
    return key, certificate


_BACKUP = "get both files back from a backup; a copy of ca.crt is in every kit"


def _authority(consortium: Consortium, now: dt.datetime) -> list[str]:
    """Make the authority, once. Its certificate comes last: with it, it is whole."""
    if consortium.ca_certificate.exists():
        return []
    if any(consortium.kits.glob("*/ca.crt")):
        raise ConfigError(f"{consortium.ca_certificate}: is gone, and sites hold it", _BACKUP)
    if not consortium.ca_key.exists():
        write_atomically(consortium.ca_key, key_text(new_key()), mode=0o600)
    certificate = authority(consortium.config.name, _load_key(consortium.ca_key), now)
    write_atomically(consortium.ca_certificate, text(certificate))
    until = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    return [f"made the certificate authority, valid until {until}: keep a copy of {consortium.ca_key} offline"]


def _server(consortium: Consortium, renew: bool, now: dt.datetime) -> list[str]:
    """Make the server's certificate where there is none, it has other names, or it is asked for; the key stays."""
    path = consortium.server_certificate
    reason = "as asked" if renew else ""
    if not path.exists():
        reason = "there was none"
    elif certified_names(_load_certificate(path)) != server_names(consortium.config):
        reason = "its names have changed"
    if not reason:
        return []
    ca_key, ca_certificate = load_authority(consortium)
    if not consortium.server_key.exists():
        write_atomically(consortium.server_key, key_text(new_key()), mode=0o600)
    key = _load_key(consortium.server_key)
    certificate = server_certificate(consortium.config, key, ca_certificate, ca_key, now)
    write_atomically(path, text(certificate))
    until = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    names = ", ".join(certified_names(certificate))
    return [f"made the server's certificate ({reason}), valid until {until}, for {names}"]


def _sites(consortium: Consortium, now: dt.datetime) -> list[str]:
    """Kits and records of new sites; what kits of others lack is added, and what is old in them is told."""
    known, app, told = load_sites(consortium), bundle_hash(), []
    for name in consortium.config.sites:
        if name not in known:
            save_site(consortium, SiteRecord(name=name, state="invited", when=timestamp(now)))
        if write_kit(consortium, name, app):
            told.append(f"wrote the kit of {name}: send it {consortium.kits / name}")
        told += [f"mind: {doubt}" for doubt in kit_doubts(consortium, name, app)]
    return told


def _strays(consortium: Consortium) -> list[str]:
    """Sites that are let in, though they have left the settings."""
    return [
        f"{name} is not in {consortium.file.name} any more, but its key is let in: `ra-server revoke '{name}'`"
        for name, record in load_sites(consortium).items()
        if name not in consortium.config.sites and record.state == "admitted"
    ]


def _open_keys(consortium: Consortium) -> list[str]:
    """Keys that others on this machine can read."""
    keys = [path for path in (consortium.ca_key, consortium.server_key) if path.exists()]
    return [f"{path} can be read by others: chmod 600 it" for path in keys if path.stat().st_mode & 0o077]


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        return private_key(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{path}: is gone, and is needed to sign", "put it back from where you keep it") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}", _BACKUP) from None


def _load_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{path}: is gone", _BACKUP) from None
    except ValueError:
        raise ConfigError(f"{path}: is no certificate", _BACKUP) from None


def _same(path: Path, content: str) -> bool:
    return path.exists() and path.read_bytes() == content.encode()
