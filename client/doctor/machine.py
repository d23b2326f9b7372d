"""What the machine has to have: bundles, room, a ledger, a device, images; and whether the daemon runs on it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import torch

from client.doctor.finding import Finding, look
from client.ledger.book import Ledger
from client.member.allow import allowed
from client.member.station import Station
from client.member.told import trouble_of
from client.site import data_root
from client.terms import rests_on_ledger
from ra_core.daemons.claim import taken
from ra_core.daemons.events import read_events
from ra_core.daemons.health import serving
from ra_core.errors import BundleError, ConfigError, ConnectError, DataError, LedgerError
from ra_core.files import cache_folder
from ra_core.runtime import Runtime
from ra_core.words import counted, listed

__all__ = ["machine"]

ROOM = 2 << 30
"""Bytes that have to be free where images are kept at hand and where models are stored."""


def machine(station: Station, data: Path | None, cache: Path | None) -> list[Finding]:
    """The machine itself.

    Args:
        station: the site.
        data: root, in place of the config's.
        cache: folder for what was seen, in place of the user's.
    """
    return [
        look("bundles", lambda: _bundles(station)),
        look("state", lambda: _room(station.state)),
        look("ledger", lambda: _ledger(station)),
        look("cache", lambda: _room(cache or cache_folder())),
        look("device", lambda: _device(station)),
        look("data", lambda: _data(station, data)),
        look("daemon", lambda: _daemon(station)),
    ]


def _bundles(station: Station) -> str:
    found = allowed(station)
    if not found:
        raise BundleError("no app bundle may run here", "ask the operator for its hash, and `ra-client allow HASH`")
    return f"{len(found)} allowed: {', '.join(bundle[:16] for bundle in found)}"


def _room(folder: Path) -> str:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not os.access(there, os.W_OK):
        raise ConfigError("the folder can't be written", "give this account the right to write there")
    free = shutil.disk_usage(there).free
    if free < ROOM:
        raise ConfigError(f"{free / (1 << 30):.1f} GiB free", f"make room: {ROOM >> 30} GiB are needed")
    return f"{free / (1 << 30):.0f} GiB free"


def _ledger(station: Station) -> str:
    ledger, begun, told = Ledger.of(station.state, station.site), False, "no line yet"
    if ledger.folder.exists():  # opening makes it, and nothing is changed here
        with ledger.opened() as book:
            begun, told = book.begun, f"whole, {counted(book.head.length, 'line')}"
    if (keys := rests_on_ledger(station.config)) and not begun:
        raise LedgerError(
            f"nobody has said that nothing left before it, which {listed(keys)} rests on",
            "if that is so, `ra-client ledger begin`; till then private studies are refused, with a list of sites all",
        )
    return told


def _device(station: Station) -> str:
    runtime = Runtime.resolve(station.config.runtime, "auto")
    try:
        torch.zeros(1, device=runtime.device)
    except RuntimeError:
        raise ConfigError(
            f"{runtime.device} is there, but can't be used", "look at nvidia-smi, or set runtime.device to cpu"
        ) from None
    return f"{runtime.device}: {runtime.processor}; {runtime.threads} threads, {runtime.precision} if the study lets it"


def _data(station: Station, given: Path | None) -> str:
    root = data_root(station.config, given)
    if not root.is_dir():
        raise DataError(
            "the data root is no folder", "check data.root in the site config, and that the disk is mounted"
        )
    if not os.access(root, os.R_OK | os.X_OK):
        raise DataError("the data root can't be read", "give this account the right to read it")
    manifest = root / station.config.data.manifest
    if not station.config.data.folder and not os.access(manifest, os.R_OK):
        raise DataError("the manifest can't be read", "check data.manifest in the site config")
    return "the folder can be read; `ra-client check` reads the images"


def _daemon(station: Station) -> str:
    if not taken(station.lock):
        return "does not run; `ra-client start` starts it"
    if not station.daemon.exists():
        return "reads the images before it joins"
    facts = json.loads(station.daemon.read_text(encoding="utf-8"))
    trouble = trouble_of(read_events(station.events)[0])
    if trouble or not serving(facts["health"]):
        raise ConnectError(
            f"runs since {facts['started']}, but isn't connected" + (f": {trouble}" if trouble else ""),
            "mend what stands above; it goes on trying",
        )
    return f"runs since {facts['started']}, connected"
