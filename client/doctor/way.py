"""From the site's key to the server that takes it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from cryptography import x509

from client.doctor.finding import Finding, State, look
from client.member.reach import CLOCK_TOLERANCE, admitted, clock_offset, look_up, open_port, private_key, trust
from client.member.station import Station
from ra_core.errors import ConfigError, ConnectError
from ra_core.files import SMALL, read_bounded
from ra_core.keys import fingerprint

__all__ = ["way"]

EXPIRY_DAYS = 30
"""So long ahead it is told that the CA's certificate expires."""


def way(station: Station) -> list[Finding]:
    """From the key to the server that takes it; a step is skipped where one that it needs isn't well."""
    steps: tuple[tuple[str, tuple[str, ...], Callable[[Station], str]], ...] = (
        ("key", (), _key),
        ("ca", (), _ca),
        ("dns", (), look_up),
        ("port", ("dns",), _port),
        ("certificate", ("ca", "port"), _certificate),
        ("clock", ("certificate",), _clock),
        ("admission", ("key", "clock"), _admission),
    )
    found: dict[str, Finding] = {}
    for name, needed, step in steps:
        broken = [other for other in needed if found[other].state is not State.OK]
        skipped = Finding(name, State.SKIPPED, f"needs {', '.join(broken)}")
        found[name] = skipped if broken else look(name, partial(step, station))
    return list(found.values())


def _key(station: Station) -> str:
    key = private_key(station)
    if station.private_key.stat().st_mode & 0o077:
        raise ConfigError("others may read server.private_key", "chmod 600 it; if others did, make a new one")
    return fingerprint(key.public_key())


def _ca(station: Station) -> str:
    trust(station)
    found = x509.load_pem_x509_certificate(read_bounded(station.ca_certificate, SMALL))
    left = found.not_valid_after_utc - datetime.now(UTC)
    if left.days < 0:
        raise ConfigError("server.ca_certificate has expired", "ask the operator for a new one")
    soon = f", in {left.days} days: ask the operator" if left.days < EXPIRY_DAYS else ""
    return f"valid until {found.not_valid_after_utc:%Y-%m-%d}{soon}"


def _port(station: Station) -> str:
    open_port(station)
    return "open"


def _certificate(station: Station) -> str:
    clock_offset(station)
    return "issued by the consortium, and for this name"


def _clock(station: Station) -> str:
    offset = clock_offset(station)
    if abs(offset) > CLOCK_TOLERANCE:
        raise ConnectError(
            f"this machine's clock is {abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} the server's",
            f"set it, best by NTP: the server refuses signatures more than {CLOCK_TOLERANCE:.0f} s off",
        )
    return f"{offset:+.0f} s against the server's"


def _admission(station: Station) -> str:
    admitted(station)
    return "the server knows this site's key"
