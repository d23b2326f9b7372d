"""The only door out of a hospital: what `client.listed` names may leave, everything else is withheld.

`release` makes every message that leaves. It holds the reply against that list and against the site's own policy,
takes out or shortens what the policy says, writes a line in the ledger, and only then gives the message out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from flwr.app import Error, Message

from client.door import Door, require_none
from client.histograms.terms import narrowed
from client.ledger.book import Book
from client.ledger.contents import contents
from client.ledger.line import Entry, Trained
from client.listed import Sent, require_finite, require_listed
from client.spending import paid_for, private_facts
from client.terms import COUNTS, to_counts
from ra_core.clipping import clipped, truncated
from ra_core.config import PolicyConfig, StudyConfig
from ra_core.errors import LedgerError, ReleaseError
from ra_core.messages import (
    CheckReply,
    DeliveryReply,
    Failure,
    HistogramReply,
    JoinRefusal,
    JoinReply,
    MaskedOrder,
    MaskedReply,
    Order,
    RoundOrder,
    RoundReply,
    StageReply,
)

__all__ = ["failed", "release"]

_DIGITS = {"float16": 11, "bfloat16": 8}
"""Binary digits of a number of each type."""

_KINDS: Mapping[type, str] = {
    JoinReply: "join",
    JoinRefusal: "refusal",
    HistogramReply: "histogram",
    CheckReply: "check",
    DeliveryReply: "delivery",
    Failure: "error",
}
"""What the ledger calls messages that are of no round."""


def release(reply: Sent | Failure, order: Order | None, door: Door | None, message: Message, why: str = "") -> Message:
    """What leaves the site: the reply, as far as all of it is allowed, once the ledger has it safe on the disk.

    A reply to a join order becomes a refusal where the policy objects. Of a round's reply, metrics that the policy
    doesn't let out are left out, and the update is shortened to the tighter of the policy's and the study's norm, then
    rounded towards zero as the policy says; with secure aggregation all of that is masked here, so that nothing is
    masked that could not have left. In a study with differential privacy an update leaves only if the ledger
    has its privacy as spent, and counts and metrics only if the policy says so. A failure leaves as kind and site
    alone; it is all that can leave where the ledger can't be written, and its kind is `LedgerError` then. Histograms
    leave in cells as large as the policy wants them, and counts above thresholds likewise.

    Args:
        reply: what the site has computed.
        order: that it answers; None where it couldn't be read, which is a failure.
        door: of the site; None where its config couldn't be read, which is a failure.
        message: that the order came in.
        why: something stayed here, in words that name no file and no patient; of a failure, told in the ledger alone.

    Raises:
        ReleaseError: a field that is not on the list, an array of another part, an unknown metric or one that is not
            finite, or the policy objects, or no privacy was spent for an update; nothing was released.
        MaskingError: the figures can't be masked.
        LedgerError: the ledger can't be written, or was changed; nothing was released.
    """
    if isinstance(reply, Failure):
        return Message(_noted(reply, order, door, why).to_error(), reply_to=message)
    if order is None or door is None:
        raise ReleaseError("a reply without an order or a policy", "this is a fault of the program: report it")
    require_listed(reply)
    with door.ledger.opened() as book:
        checked, withheld = _permitted(reply, order, door, book)
        require_finite(checked)
        paid = None
        if order.study.dp and isinstance(checked, RoundReply):
            paid = paid_for(book, door.policy, order, checked) if checked.update else None
            checked = replace(checked, **private_facts(book, door.policy, order))
        sent: Sent | MaskedReply = checked
        if isinstance(order, MaskedOrder) and isinstance(checked, RoundReply):
            sent = door.seat.mask(order, checked)
            require_listed(sent)
        entry = _entry(sent, order, door, withheld, paid, checked)
        _require_same(entry, book)
        head = book.append(entry)
    final = replace(sent, ledger_length=head.length, ledger_head=head.hash)
    if isinstance(final, RoundReply):
        return Message(final.to_record(order.study.federation.compress), reply_to=message)
    return Message(final.to_record(), reply_to=message)


def failed(failure: Failure, door: Door, why: str) -> Error:
    """What leaves where no app of ours has answered: kind and site, once the ledger has it; else `LedgerError`.

    Args:
        failure: of what kind.
        door: of the site.
        why: in words that name no file and no patient; told in the ledger alone.
    """
    return _noted(failure, None, door, why).to_error()


def _noted(failure: Failure, order: Order | None, door: Door | None, why: str) -> Failure:
    """A failure once the ledger has it; where the ledger is no good, that."""
    if door is None:
        return failure
    try:
        require_listed(failure)
        with door.ledger.opened() as book:
            book.append(_entry(failure, order, door, [why] if why else []))
    except LedgerError as error:
        if failure.kind != LedgerError.__name__:  # that was told already
            door.tell(error.message)
        return Failure(LedgerError.__name__, door.site)
    return failure


def _require_same(entry: Entry, book: Book) -> None:
    """Counts of scores, asked for again when a patient has come or gone, would tell of that patient alone."""
    left = book.answered.scored.get((entry.kind, entry.run))
    if left and left.told != entry.what["sha256"]:
        raise ReleaseError(
            "run: other counts of scores have left in it, before the patients or the policy changed",
            "none is told twice in a run; see the ledger",
        )


def _entry(
    reply: Sent | MaskedReply | Failure,
    order: Order | None,
    door: Door,
    withheld: Sequence[str],
    paid: Mapping[str, Any] | None = None,
    figures: Sent | None = None,
) -> Entry:
    number = reply.round if isinstance(reply, RoundReply | MaskedReply | StageReply) else 0
    return Entry(
        kind=_kind(reply, figures),
        what=contents(reply, withheld, figures) | _trained(order, figures),
        policy=door.policy.digest(),
        run=order.run if order else "",
        study=order.study.digest() if order else "",
        round=number,
        privacy=paid,
    )


def _trained(order: Order | None, figures: Sent | None) -> dict[str, Any]:
    """By which seed and steps an update was made, so that the very same is not asked for again."""
    if not (isinstance(order, RoundOrder) and isinstance(figures, RoundReply) and figures.update):
        return {}
    trained = Trained(order.study.seed, order.start_step, order.start_step + order.steps)
    return {"trained": trained._asdict()}


def _kind(reply: Sent | MaskedReply | Failure, figures: Sent | None) -> str:
    """What the ledger calls a message."""
    if isinstance(figures, RoundReply):
        masked = isinstance(reply, MaskedReply)
        return ("masked" if masked else "round") if figures.update else ("masked_closing" if masked else "closing")
    return reply.stage if isinstance(reply, StageReply) else _KINDS[type(reply)]


def _permitted(reply: Sent, order: Order, door: Door, book: Book) -> tuple[Sent, list[str]]:
    """What may leave of a reply; and what may not, with the policy's key."""
    why = door.objections(order, book)
    if isinstance(reply, JoinReply | RoundReply):
        why += to_counts(door.policy, reply)
    if why and isinstance(reply, JoinReply | JoinRefusal):
        refusal = JoinRefusal(reply.site, "; ".join(why))  # in no words but the policy's
        door.tell(refusal.reason)
        return refusal, []
    require_none(why)
    if isinstance(reply, JoinRefusal):
        raise ReleaseError(
            "a refusal to join, and nothing in the policy is a reason for it", "have the site asked again"
        )
    checked: Sent = reply
    withheld: list[str] = []
    if isinstance(reply, RoundReply):
        checked, withheld = _narrowed(reply, order.study, door.policy)
    if isinstance(reply, HistogramReply | CheckReply):
        checked, withheld = narrowed(reply, order.study, door.policy)
    if isinstance(checked, JoinReply) and order.study.federation.secure_aggregation:
        hidden: dict[str, Any] = dict.fromkeys(COUNTS & vars(checked).keys(), 0)
        checked = replace(checked, **hidden)
    elif order.study.dp and isinstance(checked, JoinReply | RoundReply):
        checked, more = _outside(checked, door.policy)
        withheld += more
    return checked, withheld


def _outside(reply: JoinReply | RoundReply, policy: PolicyConfig) -> tuple[JoinReply | RoundReply, list[str]]:
    """Without what no epsilon covers, as far as the policy doesn't tell it: counts are 0, a fingerprint all zeros."""
    withheld = []
    if "metrics" not in policy.dp_tells and isinstance(reply, RoundReply):
        withheld.append("policy.dp_tells: metrics")
        reply = replace(reply, metrics={})
    if "counts" not in policy.dp_tells:
        hidden: dict[str, Any] = dict.fromkeys(COUNTS & vars(reply).keys(), 0)
        if isinstance(reply, RoundReply):
            hidden["fingerprint"] = "0" * 64
        withheld.append("policy.dp_tells: counts")
        reply = replace(reply, **hidden)
    return reply, withheld


def _narrowed(reply: RoundReply, study: StudyConfig, policy: PolicyConfig) -> tuple[RoundReply, list[str]]:
    for name in reply.update:
        if name.partition(".")[0] not in study.parts:
            raise ReleaseError(f"array '{name}' is not of a shared part", f"the study shares {', '.join(study.parts)}")
    update = dict(reply.update)
    norms = [norm for norm in (policy.clip_update_norm, study.federation.clip_update_norm) if norm is not None]
    if norms:
        update = clipped(update, min(norms))
    if policy.update_type != "exact":
        update = truncated(update, _DIGITS[policy.update_type])
    agreed = study.federation.secure_aggregation
    asked = reply.metrics.keys() & set(reply.metrics if agreed is None else agreed.metrics)
    metrics = {name: reply.metrics[name] for name in sorted(asked) if policy.lets_out(name)}
    withheld = [f"policy.metrics: {name}" for name in sorted(asked - metrics.keys())]
    return replace(reply, update=update, metrics=metrics), withheld
