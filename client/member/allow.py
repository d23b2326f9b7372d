"""Which app bundles may run at this site: those that its config names, and those that were allowed afterwards."""

from __future__ import annotations

from client.member.station import Station
from ra_core.config import DIGEST
from ra_core.errors import BundleError, ConfigError
from ra_core.files import write_atomically

__all__ = ["allow", "allowed", "withdraw"]


def allowed(station: Station) -> dict[str, str]:
    """SHA-256 of every bundle that may run here, and who says so: "config" or "state". Read anew at every call.

    Raises:
        BundleError: the file in the state folder holds something else.
        OSError: it can't be read.
    """
    return dict.fromkeys(_added(station), "state") | dict.fromkeys(station.server.allowed, "config")


def allow(station: Station, bundle: str) -> None:
    """Let a bundle run from now on.

    Raises:
        ConfigError: this is no SHA-256.
        BundleError: the file in the state folder holds something else.
        OSError: it can't be written.
    """
    if not DIGEST.fullmatch(bundle):
        raise ConfigError(
            f"'{bundle:.70}' is no SHA-256", "give the 64 digits of 0-9 and a-f that the operator told you"
        )
    if bundle not in allowed(station):
        _write(station, [*_added(station), bundle])


def withdraw(station: Station, bundle: str) -> None:
    """Take back what `allow` did. A run that has begun goes on.

    Raises:
        BundleError: it was not allowed there, or the file holds something else.
        OSError: it can't be written.
    """
    added = _added(station)
    if bundle not in added:
        hint = f"{station.file.name} allows it: take it out of server.allowed" if bundle in allowed(station) else ""
        raise BundleError(f"{bundle:.70} was not allowed by `ra-client allow`", hint)
    _write(station, [other for other in added if other != bundle])


def _added(station: Station) -> list[str]:
    if not station.allowed.exists():
        return []
    lines = station.allowed.read_text(encoding="utf-8", errors="replace").split()
    for line in lines:
        if not DIGEST.fullmatch(line):
            raise BundleError(
                f"{station.allowed.name} in the state folder holds something else than SHA-256 hashes",
                "delete the file, and allow each bundle again",
            )
    return lines


def _write(station: Station, bundles: list[str]) -> None:
    write_atomically(station.allowed, "".join(f"{bundle}\n" for bundle in bundles).encode(), mode=0o600)
