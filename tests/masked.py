"""A whole masked round in one process, with sites that drop out after any stage, and a server that may be hostile."""

from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ra_core.keys import fingerprint
from ra_core.masking import Layout, Member, Roll, Tally, Terms
from ra_core.masking.layout import Field

IDENTITIES = [Ed25519PrivateKey.generate() for _ in range(40)]

STAGES = ("announced", "dealt", "masked", "confirmed")


def names(count):
    return [f"site{number:02d}" for number in range(count)]


def small_layout(size=4, most=2**40):
    return Layout((Field("x", (size,), -most, most),))


def make_terms(count=4, threshold=3, layout=None, run="run", number=1):
    pins = {name: fingerprint(key.public_key()) for name, key in zip(names(count), IDENTITIES, strict=False)}
    return Terms(run, number, pins, threshold, layout or small_layout())


def vectors(terms, rng):
    most = terms.layout.fields[0].most
    return {
        name: terms.layout.pack({"x": rng.integers(-most, most, terms.layout.size, dtype=np.int64, endpoint=True)})
        for name in terms.sites
    }


@dataclass
class Round:
    """Goes on stage by stage; `gone[stage]` are sites that are not heard of after that stage."""

    terms: Terms
    gone: dict = field(default_factory=dict)

    def __post_init__(self):
        self.members, self.announcements = {}, {}
        for name, key in zip(names(len(self.terms.pins)), IDENTITIES, strict=False):
            self.members[name], self.announcements[name] = Member.announce(self.terms, name, key)

    def _there(self, *stages):
        away = set().union(*(self.gone.get(stage, ()) for stage in stages))
        return {name: member for name, member in self.members.items() if name not in away}

    def deal(self):
        heard = list(self.announcements.values())
        self.roll = Roll.of(self.terms, heard)
        self.dealings = {name: member.deal(heard) for name, member in self._there(*STAGES[:1]).items()}
        return self

    def mask(self, given):
        dealings = list(self.dealings.values())
        self.inputs = {name: m.mask(dealings, given[name]) for name, m in self._there(*STAGES[:2]).items()}
        return self

    def tally(self):
        tally = Tally(self.roll, self.dealings.values())
        for message, vector in self.inputs.values():
            tally.add(message, vector)
        return tally

    def confirm(self, survivors):
        self.confirmations = {name: m.confirm(survivors) for name, m in self._there(*STAGES[:3]).items()}
        return self

    def reveal(self):
        said = list(self.confirmations.values())
        self.reveals = {name: member.reveal(said) for name, member in self._there(*STAGES).items()}
        return self

    def total(self, given):
        """The unmasked sum, and whose figures it is of."""
        tally = self.deal().mask(given).tally()
        survivors = tally.close()
        self.confirm(survivors).reveal()
        for message in self.confirmations.values():
            tally.confirm(message)
        for message in self.reveals.values():
            tally.reveal(message)
        return tally.unmask(), survivors


def plain_sum(given, sites):
    return np.sum([given[name].view(np.int64) for name in sites], axis=0)
