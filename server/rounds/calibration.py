"""Before the delivery: how healthy patients score with the best model at each site, and thresholds made of that.

Two exchanges. Sites send score histograms of one half of their calibration patients; thresholds are made of these, and
sites say how many of the other half are above them. Nothing here ends a run: who doesn't answer is named and left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TypeVar

from flwr.app import Message, RecordDict

from ra_core.daemons.events import moment
from ra_core.hashing import array_digest
from ra_core.messages import CheckReply, HistogramReply, MessageError
from ra_core.thresholds.record import FederatedCalibration
from server.rounds.calibrated import check_problem, completed, histogram_problem, in_words, places_of, uncompleted
from server.rounds.joining import Joining
from server.rounds.orders import Orders
from server.rounds.post import Post
from server.rounds.progress import Progress
from server.rounds.roster import TOO_LATE, Roster, Tell, reason_of, reported

__all__ = ["Calibrating"]

MOST_PATIENTS = 100_000
"""No site calibrates on more; one that claims more would own what all sites say together."""

R = TypeVar("R", HistogramReply, CheckReply)

Answers = tuple[dict[str, R], dict[str, str]]
"""Replies that count, by site; and why the others don't."""


class Calibrating:
    """The two exchanges.

    Args:
        post: the way to the sites.
        roster: who they are.
        joining: lets sites in that haven't joined yet.
        orders: makes them.
        seconds: longest wait for the answers of each exchange.
        tell: takes events.
    """

    def __init__(
        self, post: Post, roster: Roster, joining: Joining, orders: Orders, seconds: float, tell: Tell
    ) -> None:
        self._post, self._roster, self._joining, self._orders = post, roster, joining, orders
        self._seconds, self._tell = seconds, tell

    def calibrate(self, progress: Progress) -> bool:
        """Ask the sites, once in a run, and note in `progress.calibration` what comes of it.

        Returns:
            Whether they were asked.
        """
        study = self._orders.study
        if study.calibration is None or progress.calibration or not progress.best:
            return False
        asked = self._joining.known(self._roster.sites, progress.joined, self._seconds)
        self._tell("calibrating", asked=sorted(asked.values()), until=moment(self._seconds))
        replies, absent = self._histograms(asked, progress)
        network = next((reply.network for reply in replies.values()), "")
        absent |= {site: self._roster.why_absent(site) for site in self._roster.sites if site not in asked.values()}
        found = uncompleted(study, {site: reply.scores for site, reply in replies.items()}, network)
        progress.calibration = found = completed(found, *self._checks(asked, found, progress), absent)
        self._tell("calibrated", rate=found.rate, achieved=in_words(found), absent=found.absent)
        return True

    def _histograms(self, asked: Mapping[int, str], progress: Progress) -> Answers[HistogramReply]:
        replies, absent = self._answers(
            "query.histogram",
            self._orders.histogram(asked, progress),
            asked,
            progress,
            lambda message: HistogramReply.from_record(message.content),
            lambda site, reply: histogram_problem(reply, _most(site, progress)),
        )
        absent |= {site: reply.withheld for site, reply in replies.items() if reply.withheld}
        networks = Counter(reply.network for site, reply in replies.items() if site not in absent)
        usual = max(networks, key=lambda name: (networks[name], name), default="")
        others = (site for site, reply in replies.items() if site not in absent and reply.network != usual)
        absent |= dict.fromkeys(others, "it scores through another perceptual network than most sites")
        return {site: reply for site, reply in replies.items() if site not in absent}, absent

    def _checks(self, asked: Mapping[int, str], found: FederatedCalibration, progress: Progress) -> Answers[CheckReply]:
        places = {site.site: places_of(site, found) for site in found.sites}
        nodes = {node: site for node, site in asked.items() if site in places}
        return self._answers(
            "query.check",
            self._orders.check(nodes, progress, places),
            nodes,
            progress,
            lambda message: CheckReply.from_record(message.content),
            lambda site, reply: check_problem(reply, places[site], _most(site, progress)),
        )

    def _answers(
        self,
        kind: str,
        orders: Mapping[int, RecordDict],
        asked: Mapping[int, str],
        progress: Progress,
        read: Callable[[Message], R],
        problem: Callable[[str, R], str],
    ) -> Answers[R]:
        replies: dict[str, R] = {}
        absent = dict.fromkeys(asked.values(), TOO_LATE)
        expected = {"study_digest": self._orders.study.digest(), "model_hash": array_digest(progress.best)}
        waiting = self._post.send(orders, kind, self._seconds) if orders else {}
        for node, message in self._post.answers(waiting, self._seconds):
            site = asked[node]
            try:
                if message.has_error():
                    raise MessageError(reported(message.error)[1])
                reply = read(message)
                if reply.site == site:  # whether it counts or not
                    progress.note_ledger(site, (reply.ledger_length, reply.ledger_head))
                if why := _of_another(reply, {"site": site} | expected) or problem(site, reply):
                    raise MessageError(why)
            except MessageError as error:
                absent[site] = reason_of(error)
                continue
            replies[site] = reply
            del absent[site]
        return dict(sorted(replies.items())), absent


def _of_another(reply: HistogramReply | CheckReply, expected: Mapping[str, str]) -> str:
    wrong = [name.replace("_", " ") for name, value in expected.items() if getattr(reply, name) != value]
    return f"answers as another {wrong[0]}" if wrong else ""


def _most(site: str, progress: Progress) -> int:
    """Patients that a site can have: each has a file, of as many as it has told when it joined, if it has told."""
    told = progress.joined[site].n_used if site in progress.joined else 0
    return min(told or MOST_PATIENTS, MOST_PATIENTS)
