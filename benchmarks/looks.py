"""Looks at the server of a running federation: Flower's database, and the memory of SuperLink and ServerApp."""

import contextlib
import sqlite3
from pathlib import Path
from typing import NamedTuple

import psutil

from ra_core.daemons.events import read_events

MIB = 1 << 20


class Look(NamedTuple):
    """At one moment; sizes in MiB.

    Attributes:
        moment: a word for it.
        superlink: peak memory of the SuperLink so far.
        app: peak memory of the ServerApp so far.
        database: the file and its write-ahead log.
        stored: contents of the messages in it.
        messages: orders and answers in it.
        received, sent: over the fleet interface since the run began, bundle and all, as `flwr ls` counts them too.
    """

    moment: str
    superlink: float
    app: float
    database: float
    stored: float
    messages: int
    received: float
    sent: float


def look(consortium, moment, app):
    """Look now; nothing is changed.

    Args:
        consortium: whose server runs.
        moment: a word for it.
        app: peak of the ServerApp.
    """
    file = consortium.flower / "state.db"
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:

        def one(query):
            return database.execute(query).fetchone()[0] or 0

        messages = one("SELECT (SELECT count(*) FROM message_ins) + (SELECT count(*) FROM message_res)")
        sizes = [
            one(f"SELECT {what}") / MIB
            for what in (
                "sum(length(content)) FROM objects",
                "sum(bytes_recv) FROM run",
                "sum(bytes_sent) FROM run",
            )
        ]
    pid = [event["pid"] for event in read_events(consortium.events)[0] if event.get("process") == "superlink"][-1]
    on_disk = sum(path.stat().st_size for path in file.parent.glob("state.db*")) / MIB
    stored, received, sent = sizes
    return Look(moment, mebibytes("VmHWM", pid), app, on_disk, stored, messages, received, sent)


def app_peak(consortium):
    """Peak memory of the ServerApp so far; 0 where none runs."""
    peaks = [0.0]
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError, KeyError):
            ours = process.environ().get("RA_CONSORTIUM") == str(consortium.folder)
            if ours and any("flwr-serverapp" in part for part in process.cmdline()):
                peaks.append(mebibytes("VmHWM", process.pid))
    return max(peaks)


def mebibytes(key, pid="self"):
    """Memory of a process, as Linux counts: VmRSS is now, VmHWM its peak; its parent's is not in it."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status[key].split()[0]) / 1024
