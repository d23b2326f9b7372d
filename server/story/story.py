"""What has happened in one run, told event by event. Whatever an event holds, nothing here fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from server.story.calibration import calibrated
from server.story.fields import Fields
from server.story.standing import DELIVERY, JOINING, Phase, SiteStory, Standing

__all__ = ["RunStory"]

MOST_SITES = 1000
"""Sites, and kinds of trouble, that a run may name."""

_THERE = (Standing.EXPECTED, Standing.JOINED, Standing.ASKED, Standing.ANSWERED)
"""What can't be of a site that isn't asked in a round."""


@dataclass
class RunStory:
    """A run so far.

    Attributes:
        name: of its folder.
        started, heard: its last start, and its last event.
        rounds: that it was asked for.
        phase, round, closing: where it is; the closing exchange has the number after the last round.
        closed: whether the closing exchange is over, so that only the model is to be handed out.
        since, until: of the phase; None where no event told it.
        awaited: sites that are waited for before it goes on.
        allowance: seconds that the last exchange was given.
        slowest: longest time in seconds that an answer took.
        agreed: sites that have to be there.
        sites: by name.
        troubles: rounds (or `JOINING`, `DELIVERY`) by site or node, and reason.
        validation: errors over all sites, by the rounds behind the model.
        state: of the ended run; "" while it goes on.
        reasons, code: of the end.
        model_hash, best_round: the last that were told.
        calibration: what came of it, in a line; "" before it.
        refused: why the last checkpoint could not be used; "" where it could, or a round was done since.
    """

    name: str
    started: datetime | None = None
    heard: datetime | None = None
    rounds: int | None = None
    phase: Phase = Phase.NOT_BEGUN
    round: int = 0
    closing: bool = False
    closed: bool = False
    since: datetime | None = None
    until: datetime | None = None
    awaited: tuple[str, ...] = ()
    allowance: float = 0.0
    slowest: float | None = None
    agreed: tuple[str, ...] = ()
    sites: dict[str, SiteStory] = field(default_factory=dict)
    troubles: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    validation: dict[int, float] = field(default_factory=dict)
    state: str = ""
    reasons: tuple[str, ...] = ()
    code: int | None = None
    model_hash: str = ""
    best_round: int | None = None
    calibration: str = ""
    refused: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether it has begun and not ended, as far as it told."""
        return self.phase not in (Phase.NOT_BEGUN, Phase.ENDED)

    @property
    def rounds_begun(self) -> int:
        """How many rounds were begun; the closing exchange is none."""
        return max(0, self.round - self.closing)

    @property
    def rounds_done(self) -> int:
        """How many of these aren't at work now."""
        return max(0, self.rounds_begun - (self.phase is Phase.ROUND and not self.closing))

    def take(self, event: Mapping[str, Any]) -> None:
        """Add one line; events of another kind only tell that the run lives."""
        fields = Fields(event)
        self.heard = fields.moment("time") or self.heard
        teller = _TELLERS.get(fields.text("event"))
        if teller:
            teller(self, fields)

    def site(self, name: str) -> SiteStory:
        """What is known of a site; a new story where nothing is."""
        if name in self.sites or len(self.sites) < MOST_SITES:
            return self.sites.setdefault(name, SiteStory())
        return SiteStory()

    def _enter(self, phase: Phase, until: datetime | None = None) -> None:
        self.phase, self.since, self.until = phase, self.heard, until

    def _stand(self, name: str, standing: Standing, reason: str = "") -> None:
        site = self.site(name)
        site.standing, site.reason = standing, reason
        if standing in (Standing.JOINED, Standing.ANSWERED, Standing.DELIVERED):
            site.heard = self.heard

    def _note(self, who: str, reason: str, place: int) -> None:
        if (who, reason) in self.troubles or len(self.troubles) < MOST_SITES:
            self.troubles.setdefault((who, reason), set()).add(place)

    def _run_started(self, fields: Fields) -> None:
        self.started = self.heard
        self.rounds = fields.count("rounds")
        self.agreed = fields.names("sites") or self.agreed
        self.state, self.reasons, self.code = "", (), None
        if not self.closed:
            self.round, self.closing = fields.count("from_round") or 0, False
        for name in self.agreed:
            if self.site(name).standing is not Standing.DELIVERED:
                self._stand(name, Standing.EXPECTED)
        kept = {key: {p for p in places if JOINING <= p <= self.round} for key, places in self.troubles.items()}
        self.troubles = {key: places for key, places in kept.items() if places}  # what is done again is told again
        self._enter(Phase.STARTING)

    def _checkpoint_refused(self, fields: Fields) -> None:
        self.refused = fields.text("reason") or "no reason was told"

    def _waiting(self, fields: Fields) -> None:
        self.awaited = fields.names("for")
        self._enter(Phase.JOINING, fields.moment("until"))

    def _joined(self, fields: Fields) -> None:
        name = fields.text("site")
        self._stand(name, Standing.JOINED)
        self.awaited = tuple(other for other in self.awaited if other != name)
        site = self.site(name)
        site.used, site.declared = fields.count("n_used"), fields.count("n_declared")

    def _refused(self, fields: Fields) -> None:
        name, reason = fields.text("site"), fields.text("reason")
        if name:
            self._stand(name, Standing.REFUSED, reason)
        self._note(name or f"node {_node(fields)}", reason, JOINING)

    def _round_started(self, fields: Fields) -> None:
        self.round, self.closing = fields.count("round") or 0, fields.flag("closing")
        self._enter(Phase.ROUND, fields.moment("until"))
        if self.since and self.until:
            self.allowance = (self.until - self.since).total_seconds()
        asked = fields.names("asked")
        for name in asked:
            self._stand(name, Standing.ASKED)
        for name in self.agreed:
            if name not in asked and self.site(name).standing in _THERE:
                self._stand(name, Standing.MISSING, "not asked")

    def _answered(self, fields: Fields) -> None:
        name, metrics = fields.text("site"), fields.part("metrics")
        self._stand(name, Standing.ANSWERED)
        self.slowest = max(self.slowest or 0.0, fields.number("seconds") or 0.0)
        number = fields.count("round") or self.round
        validation, training = metrics.number("validation_error"), metrics.number("error")
        if validation is not None:
            self.site(name).validation[number - 1] = validation
        if training is not None and not self.closing:
            self.site(name).training[number] = training

    def _rejected(self, fields: Fields) -> None:
        name, reason = fields.text("site"), fields.text("reason")
        self._stand(name, Standing.REJECTED, reason)
        self._note(name, reason, fields.count("round") or self.round)

    def _round_done(self, fields: Fields) -> None:
        number = fields.count("round") or self.round
        error = fields.number("validation_error")
        if error is not None:
            self.validation[number - 1] = error
        told = {who for (who, _), places in self.troubles.items() if number in places}
        for name, reason in fields.texts("missing").items():
            if name not in told:
                self._stand(name, Standing.MISSING, reason)
                self._note(name, reason, number)
        self.refused = ""
        self.closed = self.closed or fields.flag("closing")
        self._keep_model(fields)
        self._enter(Phase.BETWEEN)

    def _calibrated(self, fields: Fields) -> None:
        self.calibration = calibrated(fields)

    def _delivered(self, fields: Fields) -> None:
        self._stand(fields.text("site"), Standing.DELIVERED)

    def _not_delivered(self, fields: Fields) -> None:
        name, reason = fields.text("site"), fields.text("reason")
        self._stand(name, Standing.NOT_DELIVERED, reason)
        self._note(name, reason, DELIVERY)

    def _run_ended(self, fields: Fields) -> None:
        self.state = fields.text("state") or "unknown"
        self.reasons, self.code = fields.names("reasons"), fields.whole("code")
        self._keep_model(fields)
        self._enter(Phase.ENDED)

    def _keep_model(self, fields: Fields) -> None:
        self.model_hash = fields.text("model_hash") or self.model_hash
        best = fields.count("best_round")
        self.best_round = self.best_round if best is None else best


def _node(fields: Fields) -> str:
    number = fields.count("node")
    return fields.text("node") or ("?" if number is None else str(number))


_TELLERS: dict[str, Callable[[RunStory, Fields], None]] = {
    "run_started": RunStory._run_started,
    "checkpoint_refused": RunStory._checkpoint_refused,
    "waiting": RunStory._waiting,
    "joined": RunStory._joined,
    "refused": RunStory._refused,
    "round_started": RunStory._round_started,
    "answered": RunStory._answered,
    "rejected": RunStory._rejected,
    "round_done": RunStory._round_done,
    "calibrated": RunStory._calibrated,
    "delivered": RunStory._delivered,
    "not_delivered": RunStory._not_delivered,
    "run_ended": RunStory._run_ended,
}
