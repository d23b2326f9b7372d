"""Looks at the machine, and at a running federation: Flower's database, memory of processes, what its events tell."""

import contextlib
import os
import platform
import sqlite3
import threading
from argparse import ArgumentTypeError
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from ra_core.daemons.events import read_events
from ra_core.errors import ConfigError
from ra_core.runtime import available

MIB = 1 << 20


def this_machine(threads, *packages, device="cpu"):
    """What a benchmark prints first, for its figures are of this: processor, threads, versions, and what else works."""
    told = ", ".join(f"{name} {version(name)}" for name in ("torch", *packages))
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    where = f"{torch.cuda.get_device_name(device)}, " if device != "cpu" else ""
    many = f"{threads} thread{'s' * (threads > 1)} on {os.cpu_count()} cores"
    return (
        f"{where}{processor()} ({torch.backends.cpu.get_cpu_capability()}), {many}; "
        f"Python {platform.python_version()}, {told}; load {load} in 1, 5, 15 minutes"
    )


def device(name):
    """The name of a processor or GPU that is there, for argparse, which tells the usage where it isn't."""
    try:
        available(name)
    except ConfigError as error:
        raise ArgumentTypeError(f"{error.message}: {error.hint}") from None
    return name


def grown(rows):
    """How often each number of the first row goes into that of the last."""
    return [last / first for first, last in zip(rows[0], rows[-1], strict=True)]


def processor():
    """The name that its maker gave it; Python's own word is often the architecture alone."""
    file = Path("/proc/cpuinfo")
    told = [line.partition(":") for line in file.read_text().splitlines()] if file.exists() else []
    names = [value.strip() for key, _, value in told if key.strip() == "model name"]
    return names[0] if names else platform.processor() or platform.machine()


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


def look(consortium, moment, superlink, app):
    """Look at the database now, without a change to it; the peaks of both processes are given."""
    file = consortium.flower / "state.db"
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:

        def one(query):
            return database.execute(query).fetchone()[0] or 0

        messages = one("SELECT (SELECT count(*) FROM message_ins) + (SELECT count(*) FROM message_res)")
        stored, received, sent = (
            one(f"SELECT {what}") / MIB
            for what in ("sum(length(content)) FROM objects", "sum(bytes_recv) FROM run", "sum(bytes_sent) FROM run")
        )
    on_disk = sum(path.stat().st_size for path in file.parent.glob("state.db*")) / MIB
    return Look(moment, superlink, app, on_disk, stored, messages, received, sent)


def app_memory(consortium):
    """Memory of the ServerApp now; 0 where none runs."""
    found = [0.0]
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError, KeyError):
            ours = process.environ().get("RA_CONSORTIUM") == str(consortium.folder)
            if ours and any("flwr-serverapp" in part for part in process.cmdline()):
                found.append(memory(process.pid))
    return max(found)


def superlink_memory(consortium):
    """Memory of the SuperLink now."""
    told = read_events(consortium.events)[0]
    return memory([event["pid"] for event in told if event.get("process") == "superlink"][-1])


def memory(pid="self"):
    """MiB that a process has for itself alone. Its libraries' files are left out: how much of those is in memory is up
    to what else the machine does, and swamps what is measured here. Linux keeps no peak of it, so look often.
    """
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) / 1024


@contextlib.contextmanager
def looking(at, pause):
    """Within, `at` is called at once, and then again and again in a thread, with a pause of seconds in between."""
    ended = threading.Event()

    def look_again():
        while not ended.wait(pause):
            at()

    at()
    thread = threading.Thread(target=look_again)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def round_seconds(events):
    """Of each exchange as the server tells it, the closing one last."""
    return [event["seconds"] for event in events if event["event"] == "round_done"]
