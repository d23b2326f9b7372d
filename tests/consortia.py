"""A consortium on disk, and a stand-in for Flower's control commands, for the tests of the operator's side."""

import contextlib
import datetime as dt
import itertools
import os
import socket

import admissions

from ra_core.daemons.events import Events
from ra_core.errors import FlowerError
from server.consortium import PORTS
from server.flower import NodeState, RunState
from server.provisioning.provision import provision
from server.provisioning.registry import SiteRecord, save_site

SITES = ("anna", "berta")
WHEN = "2026-01-02T03:04:05Z"
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
FIRST_PORT, SHARE, BLOCKS = 20_000, 4_000, 3
_places = itertools.count(os.getpid())


def write_consortium(folder, **settings):
    """Settings on ports that nobody has, and the folder; nothing is provisioned."""
    known = addresses() | {"sites": list(SITES)}
    return admissions.write_consortium(folder, **known | settings)


def addresses():
    """Settings of a server on loopback, on ports that nobody has."""
    port, *others = own_ports(1 + len(PORTS))
    address = f"127.0.0.1:{port}"
    return {"address": address, "listen": address} | dict(zip(PORTS, others, strict=True))


def own_ports(count):
    """Ports on loopback that are still free when a server starts, some time later.

    Another worker has others, and the system, which has its own from 32768 on, gives none to who connects meanwhile.
    """
    ports = (FIRST_PORT + WORKER % BLOCKS * SHARE + place % SHARE for place in _places)
    return list(itertools.islice(filter(_free, ports), count))


def _free(port):
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


def provisioned(folder, **settings):
    """With keys and certificates."""
    consortium = write_consortium(folder, **settings)
    provision(consortium, renew=False, now=dt.datetime.now(dt.UTC))
    return consortium


def admit(consortium, **nodes):
    """Note sites as admitted, each with the number of its node."""
    for name, node in nodes.items():
        save_site(consortium, SiteRecord(name=name, state="admitted", when=WHEN, fingerprint="f", node_id=node))


def tell(run, event, /, **fields):
    """As the server's app tells it."""
    Events(run.events).tell(event, **fields)


class FakeFlower:
    """Notes what it is asked; says of all runs what `state` holds, and of nodes what `online` does."""

    def __init__(self):
        self.state = RunState("running", "", "")
        self.online = {}
        self.lost = set()
        self.reachable = True
        self.submitted, self.stopped = [], []

    def nodes(self):
        self._reach()
        return [NodeState(str(node), "online", when, "N/A") for node, when in self.online.items()]

    def submit(self, app, run_config):
        self._reach()
        self.submitted.append((app, dict(run_config)))
        return len(self.submitted)

    def status(self, run):
        self._reach()
        if run in self.lost:
            raise FlowerError(f"run {run} not found")
        return self.state

    def stop(self, run):
        self._reach()
        self.stopped.append(run)

    def _reach(self):
        if not self.reachable:
            raise FlowerError("the SuperLink can't be reached")
