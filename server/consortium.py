"""One consortium as its operator describes it, and where everything of it lies at the server."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator, model_validator

from ra_core.address import split_address
from ra_core.config import SITE_NAME
from ra_core.errors import ConfigError
from ra_core.settings import BesideFile, Config, commented_yaml, load_config

__all__ = ["PORTS", "Consortium", "ConsortiumConfig", "explained", "load_consortium"]

PORTS = ("health", "health_executor", "metrics", "dashboard")
"""Names of the settings that are ports on loopback, beside that of `listen`."""

_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(rf"({_LABEL}\.)*{_LABEL}", re.IGNORECASE)


def _file_name(name: str) -> str:
    if not SITE_NAME.fullmatch(name) or len(name.encode()) > _NAME_BYTES:
        raise ValueError("is no name of a site: letters, digits, '_', ' ', '.' and '-', at most 64")
    return name


_NAME_BYTES = 192
"""Files are named after sites, and while they are written, with some letters more: 255 is the most there can be."""

_SiteName = Annotated[str, Field(pattern=f"^{SITE_NAME.pattern}$"), AfterValidator(_file_name)]
"""As a site config has it, where the pattern is read by another engine, which has another idea of a letter."""


class ConsortiumConfig(Config):
    """One federation: its public address, its sites, and the loopback ports of the server's processes."""

    name: str = Field(min_length=1, max_length=64, description="the consortium's name, for people")
    address: str = Field(description="HOST:PORT that sites dial; nginx listens there")
    names: tuple[str, ...] = Field((), description="further DNS names and IP addresses in the server's certificate")
    sites: tuple[_SiteName, ...] = Field(min_length=1, description="names of all sites; add one and provision again")
    folder: BesideFile = Field(
        Path("consortium"),
        validate_default=True,
        description="keys, registry, database, logs and runs, relative to this file",
    )
    certificate_days: int = Field(365, ge=1, le=825, description="how long a certificate of the server is valid")
    listen: str = Field("127.0.0.1:9443", description="HOST:PORT of Flower's SuperLink, on loopback only")
    health: int = Field(9444, ge=1, le=65535, description="loopback port that tells the SuperLink's health")
    health_executor: int = Field(9445, ge=1, le=65535, description="loopback port that tells the executor's health")
    metrics: int = Field(9446, ge=1, le=65535, description="loopback port with figures for Prometheus")
    dashboard: int = Field(9447, ge=1, le=65535, description="loopback port of the dashboard")

    @field_validator("address")
    @classmethod
    def _address_can_be_dialled(cls, value: str) -> str:
        _check_name(split_address(value)[0])
        return value

    @field_validator("names")
    @classmethod
    def _names_can_be_certified(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            _check_name(name)
        return value

    @field_validator("sites")
    @classmethod
    def _sites_have_names_of_their_own(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len({name.casefold() for name in value}) < len(value):
            raise ValueError("two sites have the same name, but for capitals")
        return value

    @field_validator("listen")
    @classmethod
    def _control_stays_on_loopback(cls, value: str) -> str:
        host = split_address(value)[0]
        if not (_is_ip(host) and ipaddress.ip_address(host).is_loopback):
            raise ValueError(
                "must be on loopback, for example 127.0.0.1:9443: whoever reaches it runs code at all sites"
            )
        return value

    @model_validator(mode="after")
    def _ports_differ(self) -> ConsortiumConfig:
        ports = (split_address(self.listen)[1], *(getattr(self, name) for name in PORTS))
        if len(set(ports)) < len(ports):
            raise ValueError(f"listen, {', '.join(PORTS[:-1])} and {PORTS[-1]} need {len(ports)} different ports")
        return self


@dataclass(frozen=True)
class Consortium:
    """A consortium's settings, and the paths under its folder.

    Attributes:
        file: where the settings were read from, absolute.
        config: the settings.
    """

    file: Path
    config: ConsortiumConfig

    @property
    def folder(self) -> Path:
        """Of everything at the server."""
        return self.config.folder

    @property
    def tls(self) -> Path:
        """Of keys and certificates."""
        return self.folder / "tls"

    @property
    def ca_key(self) -> Path:
        """What signs; whoever has it is the consortium."""
        return self.tls / "ca.key"

    @property
    def ca_certificate(self) -> Path:
        """What every site holds."""
        return self.tls / "ca.crt"

    @property
    def server_key(self) -> Path:
        """Of nginx and the SuperLink."""
        return self.tls / "server.key"

    @property
    def server_certificate(self) -> Path:
        """Of nginx and the SuperLink."""
        return self.tls / "server.crt"

    @property
    def registry(self) -> Path:
        """Of the sites' states, one file a site."""
        return self.folder / "sites"

    @property
    def kits(self) -> Path:
        """Of what is handed to the sites, one folder a site."""
        return self.folder / "kits"

    @property
    def nginx(self) -> Path:
        """The configuration for nginx."""
        return self.folder / "nginx.conf"

    @property
    def flower(self) -> Path:
        """Of Flower's database, logs and settings."""
        return self.folder / "flower"

    @property
    def runs(self) -> Path:
        """Of all runs."""
        return self.folder / "runs"

    def run(self, name: str) -> Path:
        """Of one run.

        Raises:
            ConfigError: this can't be the name of a run.
        """
        if not SITE_NAME.fullmatch(name):
            raise ConfigError(f"'{name}' is no name of a run", "use letters, digits, '_', ' ', '.' and '-', at most 64")
        return self.runs / name

    @property
    def events(self) -> Path:
        """The daemon's log, JSON lines."""
        return self.folder / "daemon.jsonl"

    @property
    def daemon(self) -> Path:
        """Who the running daemon is."""
        return self.folder / "daemon.json"

    @property
    def lock(self) -> Path:
        """Held by the one daemon that may run."""
        return self.folder / ".daemon.lock"


def load_consortium(path: Path) -> Consortium:
    """Read a consortium's settings.

    Raises:
        ConfigError: the file can't be read, or breaks a rule; names file, key and reason.
    """
    config = load_config(path, ConsortiumConfig)
    return Consortium(path.absolute(), config.model_copy(update={"folder": config.folder.absolute()}))


def explained() -> str:
    """A commented `consortium.yaml` with the defaults."""
    example = {"name": "My consortium", "address": "fed.example.org:443", "sites": ["north", "south"]}
    return commented_yaml(ConsortiumConfig, example)


def _check_name(name: str) -> None:
    if not _is_ip(name) and not (len(name) < 254 and _DNS_NAME.fullmatch(name)):
        raise ValueError(f"'{name}' is neither a DNS name nor an IP address")


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
