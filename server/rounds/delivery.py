"""The last exchange: the best model goes to every site, and each says that it has stored just that."""

from __future__ import annotations

from flwr.app import Message

from ra_core.hashing import array_digest
from ra_core.messages import DeliveryReply, MessageError
from server.rounds.joining import Joining
from server.rounds.orders import Orders
from server.rounds.post import Post
from server.rounds.progress import Progress
from server.rounds.roster import TOO_LATE, Roster, Tell, reason_of, reported

__all__ = ["deliver"]


def deliver(
    post: Post, roster: Roster, joining: Joining, orders: Orders, progress: Progress, seconds: float, tell: Tell
) -> bool:
    """Send the best model to the sites that lack it, and note who has it and who doesn't.

    Sites that are not connected are not waited for: they get it when the run is started again.

    Args:
        post: the way to the sites.
        roster: who they are.
        joining: lets sites in that haven't joined yet.
        orders: makes them.
        progress: `delivered` and `undelivered` are changed.
        seconds: longest wait for answers.
        tell: takes events.

    Returns:
        Whether any site lacked it.
    """
    lacking = {site for site in roster.sites if site not in progress.delivered}
    if not lacking or not progress.best:
        return False
    asked = joining.known(lacking, progress.joined, seconds)
    progress.undelivered = {site: roster.why_absent(site) for site in sorted(lacking)}
    progress.undelivered |= dict.fromkeys(asked.values(), TOO_LATE)
    waiting = post.send(orders.delivery(asked, progress), "query.deliver", seconds) if asked else {}
    expected = array_digest(progress.best)
    for node, message in post.answers(waiting, seconds):
        site = asked[node]
        why = _problem(message, site, expected, progress)
        if why:
            progress.undelivered[site] = why
            continue
        del progress.undelivered[site]
        progress.delivered = tuple(sorted({*progress.delivered, site}))
        tell("delivered", site=site, model_hash=expected)
    for site, why in progress.undelivered.items():
        tell("not_delivered", site=site, reason=why)
    return True


def _problem(message: Message, site: str, expected: str, progress: Progress) -> str:
    """Why an answer doesn't say that the site has the model; empty where it does, and its ledger is noted."""
    try:
        if message.has_error():
            raise MessageError(reported(message.error)[1])
        reply = DeliveryReply.from_record(message.content)
        if reply.site != site:
            raise MessageError(f"answers as '{reply.site}', which it is not")
        progress.note_ledger(site, (reply.ledger_length, reply.ledger_head))
        if reply.model_hash != expected:
            raise MessageError("has stored another model")
    except MessageError as error:
        return reason_of(error)
    return ""
