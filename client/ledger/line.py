"""A line of a ledger: what it tells, and its hash, SHA-256 over the line's JSON without that key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from ra_core.privacy.accounting import Releases

__all__ = ["EMPTY", "Entry", "Head", "Line", "Scored", "Spending", "Spent", "Trained"]

_OF_A_MODEL = ("round", "closing", "masked", "masked_closing")
"""Kinds of lines about answers for a model."""


class Head(NamedTuple):
    """Where a ledger ends: its number of lines, and the hash of the last."""

    length: int
    hash: str


EMPTY = Head(0, "0" * 64)


class Spent(NamedTuple):
    """An update that has left: when (UTC), in which run of which study, and in which round."""

    time: datetime
    run: str
    study: str
    round: int


class Trained(NamedTuple):
    """By which seed the batches of an update were drawn, and from which step to before which."""

    seed: int
    start: int
    stop: int


class Scored(NamedTuple):
    """Counts of scores that have left.

    Attributes:
        model_hash: whose scores they are.
        thresholds: as places of published edges; none of a histogram.
        told: SHA-256 of all that was told of them.
    """

    model_hash: str
    thresholds: tuple[int, ...]
    told: str


class Spending(NamedTuple):
    """Privacy spent: in which run of which study, for which round, with what noise.

    Attributes:
        number: of the ledger's line.
        source: of the noise's bits.
        delta: at which it was held against the budgets.
        releases: that the round makes.
    """

    number: int
    run: str
    study: str
    round: int
    source: str
    delta: float
    releases: Releases


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a line tells.

    Attributes:
        kind: of message: join, refusal, round, closing, histogram, check, delivery, error; with secure aggregation
            masked and masked_closing in place of round and closing, and announce, deal, confirm, reveal; or a note of
            the ledger itself: torn, or spending, privacy that is spent before a round is computed, or begin, the site's
            word that nothing has left before this ledger but what a lost one knew.
        what: what the message holds, as `client.ledger.contents` says, and of an update `trained`, the fields of
            `Trained`; of a note, what it is about.
        policy: SHA-256 of the policy that let it out.
        run: its name; empty where it isn't known.
        study: SHA-256 of its settings; empty where they aren't known.
        round: from 1; 0 where the message is of none.
        privacy: of a note of spending and of the update that follows it, as `client.spending` says; None elsewhere.
    """

    kind: str
    what: Mapping[str, Any]
    policy: str
    run: str = ""
    study: str = ""
    round: int = 0
    privacy: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Line(Entry):
    """An entry in its place.

    Attributes:
        number: from 1.
        time: UTC, ISO 8601.
        previous: hash of the line before it.
        salt: 32 hex digits of the system's: the server gets the hash, and knows nearly all else, so that without it the
            rest could be found by trying.
    """

    number: int
    time: str
    previous: str
    salt: str

    @cached_property
    def hash(self) -> str:
        """Over all of it."""
        return hashlib.sha256(self._json).hexdigest()

    @cached_property
    def content(self) -> bytes:
        """As it stands in the file."""
        return b'{"hash":"%b",%b\n' % (self.hash.encode(), self._json[1:])  # no other key sorts before it

    @cached_property
    def _json(self) -> bytes:
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return json.dumps(found, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

    @property
    def spent(self) -> Spent | None:
        """The update in it, if it holds one."""
        if self.kind not in ("round", "masked"):
            return None
        return Spent(datetime.fromisoformat(self.time), self.run, self.study, self.round)

    @property
    def model_hash(self) -> str:
        """Of the model that it answers for, in a round or a closing exchange; empty elsewhere."""
        return str(self.what["facts"]["model_hash"]) if self.kind in _OF_A_MODEL else ""

    @property
    def trained(self) -> Trained | None:
        """How the update in it was made; None where there is none, or an old line doesn't tell."""
        return Trained(**self.what["trained"]) if "trained" in self.what else None

    @property
    def scored(self) -> Scored | None:
        """The counts of scores in it; None where there are none."""
        if self.kind not in ("histogram", "check"):
            return None
        facts, named = self.what["facts"], ("local", "pooled", "shrunken") if self.kind == "check" else ()
        return Scored(str(facts["model_hash"]), tuple(int(facts[name]) for name in named), str(self.what["sha256"]))

    @property
    def spending(self) -> Spending | None:
        """The privacy that it notes as spent, if it does."""
        if self.kind != "spending":
            return None
        told = self.privacy or {}
        releases = Releases(told["sampling_rate"], told["noise_multiplier"], told["releases"])
        if not (0 < releases.sampling_rate <= 1 and releases.noise_multiplier > 0 and releases.times > 0):
            raise ValueError("no spending")
        return Spending(self.number, self.run, self.study, self.round, told["source"], told["delta"], releases)

    @property
    def replaced(self) -> Head | None:
        """Of a note of a beginning, the end of the lost ledger in whose place it is, which may be empty."""
        return Head(self.what["length"], self.what["head"]) if self.kind == "begin" else None

    @property
    def noted(self) -> list[str]:
        """Names of files that were set aside and that it tells of."""
        found = [self.what] if self.kind == "torn" else self.what.get("aside", [])
        return [str(told["file"]) for told in found]
