"""A federation from joining to delivery, whose result doesn't depend on the order in which sites answer.

Each reply is checked and folded into an exact integer sum as it arrives (`fold.py`); a bad one is rejected by
name, and the round counts if enough of the agreed sites are left. The model received in a round is evaluated at the
sites in the same exchange, so the model of round r is judged in round r + 1, the last one in a closing exchange.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

from flwr.serverapp import Grid

from ra_core.config import StudyConfig
from ra_core.daemons.events import moment
from ra_core.errors import NonFiniteError, PrivacyBudgetError, QuorumError
from ra_core.hashing import array_digest
from ra_core.masking.terms import require_threshold
from ra_core.messages import RoundOrder
from server.rounds.calibration import Calibrating
from server.rounds.delivery import deliver
from server.rounds.fold import Fold
from server.rounds.joining import Joining
from server.rounds.masked_fold import MaskedFold
from server.rounds.masked_rounds import LEFT_ALONE, MaskedRounds, Seconds
from server.rounds.optimizer import start, step
from server.rounds.orders import Orders
from server.rounds.post import POLL_SECONDS, Post
from server.rounds.progress import LedgerHead, Progress, RoundRecord
from server.rounds.roster import Roster, Tell

__all__ = ["FederatedAveraging"]

_SPENT = f"reports {PrivacyBudgetError.__name__}"


class FederatedAveraging:
    """The round loop.

    Args:
        grid: Flower's way to the sites.
        study: settings, the same for all sites.
        sites: agreed names; no other site takes part, and the quorum is a share of these, connected or not.
        selectable: whether the model after so many steps may be selected.
        on_progress: called after each exchange; the place for checkpoints.
        run: name of the run.
        deadline: longest wait in seconds, in place of the study's for joining and for rounds.
        registered: sites by node, where node authentication tells.
        tell: takes events.
        on_masking: called with the number of a round before any masked figures of it are asked for; the place to note
            that it can't be made again.
        ledgers: what is known of sites' ledgers before anybody has joined.
    """

    def __init__(
        self,
        grid: Grid,
        study: StudyConfig,
        sites: Sequence[str],
        selectable: Callable[[int], bool],
        on_progress: Callable[[Progress], None],
        run: str = "run",
        deadline: float | None = None,
        registered: Mapping[int, str] | None = None,
        tell: Tell = lambda event, **fields: None,  # noqa: ARG005
        on_masking: Callable[[int], None] = lambda number: None,  # noqa: ARG005
        ledgers: Mapping[str, LedgerHead] = MappingProxyType({}),
    ) -> None:
        self.federation, self.selectable, self.on_progress = study.federation, selectable, on_progress
        self.deadline = deadline or study.federation.deadline_seconds
        self._tell, self._post, self._orders = tell, Post(grid), Orders(study, run)
        self._roster = Roster(study, sites, registered or {}, tell)
        seconds = deadline or study.federation.join_seconds
        self._joining = Joining(self._post, self._roster, self._orders.join(), seconds, tell, ledgers)
        self._calibrating = Calibrating(self._post, self._roster, self._joining, self._orders, self.deadline, tell)
        # Less a hair: 0.55 * 20 is a little more than 11.
        self._needed = max(1, math.ceil(study.federation.quorum * len(self._roster.sites) - 1e-9))
        self._masking: MaskedRounds | None = None
        if agreed := study.federation.secure_aggregation:
            require_threshold(agreed.threshold, len(self._roster.sites))
            self._needed = max(self._needed, agreed.threshold)
            waits = Seconds(deadline or agreed.stage_seconds, self.deadline)
            self._masking = MaskedRounds(
                self._post, self._roster, self._orders, agreed, self._needed, waits, on_masking, tell
            )

    def run(self, progress: Progress) -> Progress:
        """Go on from `progress` to the end: rounds, the closing exchange that lets the last one win too, delivery.

        Before the delivery the best model is calibrated, where the study asks for it.

        All agreed sites are waited for at the start, as many as the quorum needs before later exchanges; at most as
        long as the deadline. A run that is done already only delivers, to those who lack the model. A round for which
        too few sites have privacy left is void, and the last.

        Raises:
            QuorumError: too few sites joined, or answered usably in a round.
            MaskingError: a masked round can't be opened, and can't be made again either.
            NonFiniteError: the server's optimizer left what float32 holds.
        """
        rounds, steps, patience = self.federation.rounds, self.federation.local_steps, self.federation.patience
        if not progress.closed:
            self._joining.open()
            progress.take_in(self._roster.joined)
            self._require_quorum(progress.round + 1, self._roster.joined, "joined")
            while progress.round < rounds and not (progress.has_stalled(patience) or progress.spent):
                self._exchange(progress, steps)
            self._exchange(progress, 0)
        if self._calibrating.calibrate(progress):
            self.on_progress(progress)
        if deliver(self._post, self._roster, self._joining, self._orders, progress, self.deadline, self._tell):
            self.on_progress(progress)
        return progress

    def _exchange(self, progress: Progress, steps: int) -> None:
        began = time.monotonic()
        order = self._orders.next_round(progress, steps)
        asked = self._present(order.round)
        progress.take_in(self._roster.joined)
        fold: Fold | MaskedFold | None = None
        try:
            fold = self._answers(order, asked, progress)
            record = fold.record({site: self._roster.why_absent(site) for site in self._roster.sites})
        except QuorumError:  # of a masked round, before any figures were asked for
            if not (steps and progress.unfinished and self._lacks_privacy(progress.unfinished, progress)):
                raise
            record = progress.unfinished
        progress.unfinished = record
        for site, head in record.ledgers.items():
            progress.note_ledger(site, head)
        if steps and self._lacks_privacy(record, progress):
            record = record.void()
        else:
            self._require_quorum(record.round, record.answered, "gave a usable answer", record.missing)
        progress.records.append(record)
        progress.unfinished = None
        judged = record.answered and self.selectable(order.start_step)
        if judged and _is_better(record.validation_error, progress.best_error):
            progress.best, progress.best_round = progress.model, progress.round
            progress.best_error = record.validation_error
        if fold and steps and record.answered:
            self._step(progress, fold)
        self.on_progress(progress)
        self._tell_done(progress, record, time.monotonic() - began)

    def _present(self, number: int) -> dict[int, str]:
        """Nodes that are in and connected, with their sites; as many as the quorum needs are waited for.

        Raises:
            QuorumError: they don't come.
        """
        deadline = time.monotonic() + self.deadline
        told = False
        while True:
            self._joining.late()
            found = self._roster.present(self._post.connected())
            if len(found) >= self._needed:
                return found
            if time.monotonic() > deadline:
                self._require_quorum(number, found.values(), "are connected")
            if not told:
                away = [site for site in self._roster.sites if site not in found.values()]
                self._tell("waiting", **{"for": away, "until": moment(self.deadline)})
                told = True
            time.sleep(POLL_SECONDS)

    def _answers(self, order: RoundOrder, asked: Mapping[int, str], progress: Progress) -> Fold | MaskedFold:
        if self._masking:
            return self._masking.exchange(order, asked, progress)
        number = order.round
        fold = Fold(order, self._roster.sites, asked)
        until, sent = moment(self.deadline), time.monotonic()
        names = sorted(asked.values())
        self._tell("round_started", round=number, closing=not order.steps, asked=names, until=until)
        orders, label = self._orders.addressed(order, asked, progress), str(number) if order.steps else "closing"
        waiting = self._post.send(orders, "train", self.deadline, label)
        for node, message in self._post.answers(waiting, self.deadline):
            site, why = asked[node], fold.take(node, message)
            if why:
                self._tell("rejected", round=number, site=site, reason=why)
            else:
                seconds = round(time.monotonic() - sent, 3)
                self._tell("answered", round=number, site=site, seconds=seconds, metrics=fold.metrics(site))
        return fold

    def _step(self, progress: Progress, fold: Fold | MaskedFold) -> None:
        config = self.federation.optimizer
        state = progress.optimizer or start(config, progress.model)
        try:
            progress.model, progress.optimizer = step(config, progress.model, fold.mean(), state)
        except ValueError as error:
            raise NonFiniteError(str(error), "lower federation.optimizer.learning_rate in a new run") from None
        progress.round += 1

    def _lacks_privacy(self, record: RoundRecord, progress: Progress) -> bool:
        """Whether a round failed only because privacy is spent, and there is a model to end with."""
        reasons = list(record.missing.values())
        spent = sum(why.endswith(_SPENT) for why in reasons)  # in a masked round the stage stands before it
        ready = len(record.answered) + reasons.count(LEFT_ALONE)
        lacks = ready < self._needed <= ready + spent
        return lacks and progress.round > 0 and self.selectable(progress.round * self.federation.local_steps)

    def _require_quorum(
        self, number: int, there: Collection[str], what: str, reasons: Mapping[str, str] | None = None
    ) -> None:
        if len(there) < self._needed:
            absent = {site: self._roster.why_absent(site) for site in self._roster.sites if site not in there}
            all_reasons = absent | self._roster.strangers() | dict(reasons or {})
            told = "; ".join(f"{who}: {why}" for who, why in all_reasons.items())
            raise QuorumError(
                f"round {number}: {len(there)} of {len(self._roster.sites)} sites {what}, "
                f"{self._needed} are needed ({told})",
                "mend the sites named; the run goes on from the last checkpoint (a lower quorum would be another run)",
            )

    def _tell_done(self, progress: Progress, record: RoundRecord, seconds: float) -> None:
        self._tell(
            "round_done",
            round=record.round,
            closing=record.closing,
            answered=list(record.answered),
            missing=dict(record.missing),
            validation_error=record.validation_error,
            model_hash=array_digest(progress.model),
            best_round=progress.best_round,
            seconds=round(seconds, 3),
        )


def _is_better(error: float, best: float) -> bool:
    """Whether a model replaces the best one so far. Where no site's policy lets errors out, the latest one does."""
    return error < best or (math.isinf(error) and math.isinf(best))
