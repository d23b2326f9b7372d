"""A hospital's place in a federation: what its config must hold to join, and where things lie in its state folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ra_core.config import ServerConfig, SiteConfig
from ra_core.errors import ConfigError
from ra_core.settings import load_config

__all__ = ["EVENTS", "MARKER", "Station", "open_station"]

MARKER = "RA_STATION"
"""Environment variable of all processes of a daemon; its value is the state folder."""

EVENTS = "daemon.jsonl"
"""What happens at a site, in its state folder; whether or not it is a member."""


@dataclass(frozen=True)
class Station:
    """A site config that is complete enough to join.

    Attributes:
        file: of the config, absolute.
        config: the settings.
        server: of the federation.
        ca_certificate: file, absolute.
        private_key: file, absolute.
        state: folder, absolute.
    """

    file: Path
    config: SiteConfig
    server: ServerConfig
    ca_certificate: Path
    private_key: Path
    state: Path

    @property
    def site(self) -> str:
        """The site's name in the federation."""
        return self.config.data.site

    @property
    def events(self) -> Path:
        """What the daemon tells, as JSON lines."""
        return self.state / EVENTS

    @property
    def daemon(self) -> Path:
        """Who the daemon is, while it runs."""
        return self.state / "daemon.json"

    @property
    def lock(self) -> Path:
        """Held by the one daemon that may use the folder."""
        return self.state / ".daemon.lock"

    @property
    def flower(self) -> Path:
        """Flower's own folder."""
        return self.state / "flower"

    @property
    def allowed(self) -> Path:
        """Hashes of app bundles that were allowed here, one a line."""
        return self.state / "allowed.txt"


def open_station(path: Path) -> Station:
    """Read a site config that is meant to join.

    Raises:
        ConfigError: it can't be read, breaks a rule, or lacks what joining needs; names the key.
    """
    config = load_config(path, SiteConfig)
    server = config.server
    if server is None:
        raise ConfigError(f"{path}: server: is required to join", "copy the section from the site.yaml of your kit")
    ca_certificate = _needed(path, "server.ca_certificate", server.ca_certificate, "ca.crt of your kit")
    private_key = _needed(path, "server.private_key", server.private_key, "the key that `ra-client keygen` makes")
    state = _needed(path, "state", config.state, "a folder that only this site uses")
    return Station(path.absolute(), config, server, ca_certificate, private_key, state)


def _needed(path: Path, key: str, value: Path | None, what: str) -> Path:
    if value is None:
        raise ConfigError(f"{path}: {key}: is required to join", f"name {what}")
    return value.absolute()
