"""Who belongs to a consortium: one file a site with its state, its key, and the keys that it had before."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from typing import Literal

from filelock import FileLock, Timeout
from pydantic import ValidationError

from ra_core.errors import AdmissionError, ConfigError
from ra_core.files import write_atomically
from ra_core.settings import Config, first_problem
from server.consortium import Consortium

__all__ = ["FormerKey", "SiteRecord", "edited", "load_site", "load_sites", "save_site", "site_names", "timestamp"]


class FormerKey(Config):
    """A key that is never let in again.

    Attributes:
        fingerprint: of the public key.
        node_id: its last number at the SuperLink.
        when: it was shut out, as `timestamp` gives it.
        why: in one word.
    """

    fingerprint: str
    node_id: int
    when: str
    why: Literal["replaced", "revoked"]


class SiteRecord(Config):
    """A site as the consortium knows it.

    Attributes:
        name: of the site.
        state: invited (has a kit), admitted (its key is let in) or revoked.
        when: it came to this state, as `timestamp` gives it.
        fingerprint: of its public key, where it is admitted.
        public_key: OpenSSH's line, where it is admitted.
        node_id: number of the key at the SuperLink, where it is admitted.
        former: keys that it had before.
        withdrawn: when it withdrew from what it had given to models, likewise; empty where it never has.
    """

    name: str
    state: Literal["invited", "admitted", "revoked"]
    when: str
    fingerprint: str = ""
    public_key: str = ""
    node_id: int | None = None
    former: tuple[FormerKey, ...] = ()
    withdrawn: str = ""


def timestamp(now: dt.datetime) -> str:
    """A moment as the registry writes it: UTC, whole seconds."""
    return now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def load_site(consortium: Consortium, name: str) -> SiteRecord:
    """What is known of a site.

    Raises:
        AdmissionError: nothing is.
        ConfigError: the file is damaged.
    """
    names = site_names(consortium)
    if name not in names:
        known = ", ".join(names) or "none yet"
        hint = f"known are: {known}; add it to {consortium.file.name} and run `ra-server provision` again"
        raise AdmissionError(f"'{name}' is no site of this consortium", hint)
    return _read(consortium, name)


def site_names(consortium: Consortium) -> list[str]:
    """All sites that ever had a kit: those that have left the settings since are among them."""
    return sorted(path.stem for path in consortium.registry.glob("*.json"))


def load_sites(consortium: Consortium) -> dict[str, SiteRecord]:
    """What is known of all `site_names`, by name.

    Raises:
        ConfigError: a file is damaged.
    """
    return {name: _read(consortium, name) for name in site_names(consortium)}


def save_site(consortium: Consortium, record: SiteRecord) -> None:
    """Write what is known of a site, atomically.

    Raises:
        OSError: the folder can't be written.
    """
    write_atomically(consortium.registry / f"{record.name}.json", f"{record.model_dump_json(indent=2)}\n".encode())


@contextlib.contextmanager
def edited(consortium: Consortium) -> Iterator[None]:
    """Within, nobody else changes keys, kits or the registry.

    Raises:
        ConfigError: somebody else does.
    """
    consortium.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with FileLock(consortium.folder / "registry.lock", timeout=10):
            yield
    except Timeout:
        raise ConfigError("another command is changing this consortium", "wait for its end") from None


def _read(consortium: Consortium, name: str) -> SiteRecord:
    path = consortium.registry / f"{name}.json"
    try:
        return SiteRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        hint = "get the file back from a backup"
        raise ConfigError(f"{path}: {first_problem(error, 'record')}", hint) from None
