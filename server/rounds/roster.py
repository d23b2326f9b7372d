"""Who takes part in a run, who doesn't, and why. Nothing that a node says of itself is trusted unchecked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from flwr.app import Error, Message
from flwr.common.constant import ErrorCode  # private: flwr is pinned
from pydantic import TypeAdapter, ValidationError

from ra_core.config import SITE_NAME, StudyConfig
from ra_core.fixed_point import LARGEST_TOTAL_COUNT
from ra_core.installed import package_hash
from ra_core.messages import CRASHED, SITE_FAILED, JoinRefusal, JoinReply, MessageError, RoundReply
from ra_core.words import listed, printable

__all__ = ["TOO_LATE", "Roster", "Tell", "counts_problem", "read_pins", "reason_of", "reported"]

MOST_IMAGES = 10_000_000
"""No hospital has more healthy images for one study; a site that claims more would own the weighted mean."""

LONGEST_REASON = 400
"""Characters of a reason that are kept: parts of it come from the site."""

_PINS = TypeAdapter(dict[str, str])

NOT_CONNECTED = "not connected"

TOO_LATE = "no answer before the deadline"

_FLOWERS = {
    ErrorCode.MESSAGE_UNAVAILABLE: TOO_LATE,  # no node has fetched it in time
    ErrorCode.REPLY_MESSAGE_UNAVAILABLE: TOO_LATE,
    ErrorCode.NODE_UNAVAILABLE: "its connection was lost (Node Unavailable)",
}
"""What the SuperLink answers in a site's place, in our words."""


class Tell(Protocol):
    """Takes events; `ra_core.daemons.events.Events.tell` is one."""

    def __call__(self, event: str, **fields: object) -> None:
        """Note one event with its fields."""


@dataclass(frozen=True)
class _Refusal:
    """Why a node isn't in: `who` is its site, where that is known, else "node N"."""

    who: str
    reason: str
    foreign: bool  # of no agreed site, so never asked again
    passing: bool  # the site hasn't said no


class Roster:
    """The nodes and sites of a run.

    Args:
        study: settings, the same for all sites.
        sites: agreed names; no other site takes part.
        registered: sites by node, where node authentication tells: then a node is that site and no other. Where this
            is empty, the first of two nodes that give one name has it.
        tell: takes events.

    Attributes:
        sites: agreed names, sorted.
        names: of the nodes that have joined.
        joined: what sites have told when they joined.
        silent: nodes that were asked to join and have not answered yet.
    """

    def __init__(self, study: StudyConfig, sites: Iterable[str], registered: Mapping[int, str], tell: Tell) -> None:
        self.sites = tuple(sorted(sites))
        self.names: dict[int, str] = {}
        self.joined: dict[str, JoinReply] = {}
        self.silent: set[int] = set()
        self._study_digest, self._masked = study.digest(), study.federation.secure_aggregation is not None
        self._untold = self._masked or study.dp is not None
        self._registered, self._tell = dict(registered), tell
        self._refusals: dict[int, _Refusal] = {}

    @property
    def absent(self) -> tuple[str, ...]:
        """Agreed sites that have not joined."""
        return tuple(site for site in self.sites if site not in self.joined)

    @property
    def settled(self) -> bool:
        """Whether each site has joined or been refused; one refused without a name may be any of those missing."""
        refusals = [found for found in self._refusals.values() if not (found.foreign or found.passing)]
        unknown = set(self.absent) - {found.who for found in refusals}
        return len(unknown) <= sum(found.who not in self.sites for found in refusals)

    def may_join(self, node: int) -> bool:
        """Whether it makes sense to ask a node."""
        if node in self.names or (node in self._refusals and self._refusals[node].foreign):
            return False
        return not self._registered or self._registered.get(node) in self.sites

    def known(self, connected: Iterable[int]) -> dict[int, str]:
        """Connected nodes whose site is sure, by joining or by their key."""
        names = {node: site for node, site in self._registered.items() if site in self.sites} | self.names
        return {node: names[node] for node in sorted(connected) if node in names}

    def present(self, connected: Iterable[int]) -> dict[int, str]:
        """Connected nodes that have joined, with their sites."""
        return {node: self.names[node] for node in sorted(connected) if node in self.names}

    def why_absent(self, site: str) -> str:
        """Why a site isn't there: who has said no is asked again, and its reason holds until another answer comes."""
        refusals = [] if site in self.joined else [found for found in self._refusals.values() if found.who == site]
        if lasting := [found.reason for found in refusals if not found.passing]:
            return lasting[0]
        if any(self._registered.get(node) == site for node in self.silent):
            return TOO_LATE
        return refusals[0].reason if refusals else NOT_CONNECTED

    def strangers(self) -> dict[str, str]:
        """Reasons of nodes that were refused and are of no known site of this study."""
        return {found.who: found.reason for found in self._refusals.values() if found.who not in self.sites}

    def take(self, node: int, message: Message) -> None:
        """Let a node in by its answer to a join order, or note why not."""
        name, foreign = "", False
        self.silent.discard(node)
        passing = message.has_error() and _is_passing(message.error)
        try:
            if message.has_error():
                name, why = reported(message.error)
                raise MessageError(why)
            if JoinRefusal.is_one(message.content):
                refusal = JoinRefusal.from_record(message.content)
                name, foreign = refusal.site, refusal.site not in self.sites
                raise MessageError(f"its policy refuses: {refusal.reason}")
            reply = JoinReply.from_record(message.content)
            name, foreign = reply.site, reply.site not in self.sites
            self._check(node, reply)
        except MessageError as error:
            self._refuse(node, _Refusal(self._who(node, name), reason_of(error), foreign, passing))
            return
        self._refusals.pop(node, None)
        self.names[node], self.joined[reply.site] = reply.site, reply
        counts = {"n_images": reply.n_images, "n_used": reply.n_used, "n_declared": reply.n_declared}
        self._tell("joined", site=reply.site, **counts)

    def _check(self, node: int, reply: JoinReply) -> None:
        if reply.site not in self.sites:
            raise MessageError(f"'{reply.site}' is not a site of this study")
        if self._registered.get(node, reply.site) != reply.site or reply.site in self.joined:
            raise MessageError(f"joins as '{reply.site}', which it is not")
        if reply.package_hash != package_hash():
            raise MessageError("has another version of federated-ra than the server")
        if reply.study_digest != self._study_digest:
            raise MessageError("answers another study")
        if problem := counts_problem(reply, len(self.sites), self._untold):
            raise MessageError(problem)
        if self._masked and (problem := self._pins_problem(reply)):
            raise MessageError(problem)

    def _pins_problem(self, reply: JoinReply) -> str:
        """Why masks of this site would not cancel: all have to know all sites by the same keys. Empty where they do."""
        pins = read_pins(reply)
        lacking, more = sorted(set(self.sites) - pins.keys()), sorted(pins.keys() - set(self.sites))
        if lacking:
            return f"its secure_aggregation.sites has no fingerprint of {listed(lacking)}"
        if more:
            return f"its secure_aggregation.sites lists {listed(more)} too, which this run doesn't have"
        for other in self.joined.values():
            if differing := [site for site, pin in read_pins(other).items() if pins[site] != pin]:
                return f"knows '{differing[0]}' by another signing key than '{other.site}' does: compare fingerprints"
        return ""

    def _who(self, node: int, name: str) -> str:
        """A node's site: by its key, else the agreed name that it gives if nobody else has that."""
        taken = {*self.joined, *(found.who for other, found in self._refusals.items() if other != node)}
        free = name in self.sites and name not in taken
        return self._registered.get(node) or (name if free else f"node {node}")

    def _refuse(self, node: int, refusal: _Refusal) -> None:
        told = self._refusals.get(node)
        self._refusals[node] = refusal
        if told != refusal:
            key = "site" if refusal.who in self.sites else "node"
            self._tell("refused", **{key: refusal.who.removeprefix("node ")}, reason=refusal.reason)


def read_pins(reply: JoinReply) -> dict[str, str]:
    """Fingerprints of signing keys by site, as a site knows them; empty where they can't be read."""
    try:
        return dict(_PINS.validate_json(reply.pins or "{}", strict=True))
    except ValidationError:
        return {}


def counts_problem(reply: JoinReply | RoundReply, sites: int, untold: bool) -> str:
    """What is wrong with a site's counts; empty where nothing is.

    Args:
        reply: that gives them.
        sites: agreed. Each has a share of the total, so that no site can take what is left for another.
        untold: whether all may be 0, as with differential privacy, where counts have no weight.
    """
    n_val_patients = reply.n_val_patients if isinstance(reply, JoinReply) else min(reply.n_val, 1)
    counts = (reply.n_images, reply.n_patients, reply.n_val, n_val_patients, reply.n_used, reply.n_declared)
    if untold and not any(counts):
        return ""
    most = min(MOST_IMAGES, LARGEST_TOTAL_COUNT // sites)
    if not (1 <= reply.n_patients <= reply.n_images <= most and 1 <= n_val_patients <= reply.n_val <= most):
        return "its counts can't be true"
    return "" if 1 <= reply.n_used <= reply.n_declared <= most else "its counts of files can't be true"


def reported(error: Error) -> tuple[str, str]:
    """A site's name, where it is told, and what went wrong: our client sends "KIND at SITE", or that with ": OTHER"."""
    if error.code in _FLOWERS:
        return "", _FLOWERS[error.code]
    text = error.reason or "an error"
    kind, _, rest = text.partition(" at ")
    name, _, about = rest.partition(": ")  # no site's name holds a colon
    whom = f" and blames '{about}'" if SITE_NAME.fullmatch(about) else ""
    return (name, f"reports {kind}{whom}") if re.fullmatch(r"\w{1,40}", kind) else ("", f"reports {text}")


def _is_passing(error: Error) -> bool:
    """Whether a site hasn't said no: Flower answered in its place, or its process crashed."""
    return error.code != SITE_FAILED or reported(error)[1] == f"reports {CRASHED}"


def reason_of(what: object) -> str:
    """Why something is no good, so that it can be shown: parts of it come from a site."""
    return printable(str(what)[:LONGEST_REASON])
