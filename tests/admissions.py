"""A consortium on disk, and a SuperLink's registrations in memory, for the tests of provisioning and admission."""

import datetime as dt
import itertools

import yaml
from cryptography.hazmat.primitives.asymmetric import ec

from ra_core.errors import FlowerError
from ra_core.keys import parse_public_key, public_line
from server.consortium import load_consortium
from server.flower import NodeState

NOW = dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
SETTINGS = {"name": "Test", "address": "fed.example.org:443", "sites": ["north", "south west"]}


def write_consortium(folder, /, **changes):
    """The settings, with their folder beside them; to change them again changes nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "consortium.yaml"
    path.write_text(yaml.safe_dump(SETTINGS | changes), encoding="utf-8")
    return load_consortium(path)


def public_key(path):
    """Write a new public key; its path."""
    key = ec.generate_private_key(ec.SECP384R1())
    path.write_text(public_line(key.public_key()) + "\n", encoding="utf-8")
    return path


class MemoryFlower:
    """What admission needs of a SuperLink: a key is registered once and never again."""

    def __init__(self):
        self.status = {}
        self.keys = set()
        self.fresh = itertools.count(2**63)

    def register(self, path):
        line = public_line(parse_public_key(path.read_bytes()))
        if line in self.keys:
            raise FlowerError("`flwr supernode` failed: Public key already in use")
        self.keys.add(line)
        node = next(self.fresh)
        self.status[node] = "registered"
        return node

    def unregister(self, node):
        assert self.status[node] != "unregistered"
        self.status[node] = "unregistered"

    def nodes(self):
        return [NodeState(str(node), status, "N/A", "N/A") for node, status in self.status.items()]

    def active(self):
        return {node for node, status in self.status.items() if status != "unregistered"}

    def forget(self):
        """Lose the database."""
        self.status, self.keys = {}, set()
