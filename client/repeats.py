"""What asks in a run that the site hasn't joined, or asks again: for masked figures, a judgement, scores.

An update is a function of model, data, seed and steps. Two sums of the same updates, over two lists of sites, differ by
those of a single site, and without masks they would be seen at once. A judgement is a mean over validation images of a
function that the server has chosen: of thousands of models made for that they would tell the images' mean. Scores are
of such a function as well: counts of two models, or above two thresholds, may differ by a single patient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeGuard

from client.ledger.answered import Answered
from client.ledger.line import Spent
from ra_core.config import PolicyConfig
from ra_core.hashing import array_digest
from ra_core.messages import CheckOrder, HistogramOrder, JoinOrder, Order, RoundOrder, StageOrder

__all__ = ["beyond_updates", "other_scores", "repeats", "uninvited"]


def uninvited(order: Order, answered: Answered) -> Iterator[str]:
    """Why an order is of a run that the site has no part in: it was never asked to join, or has refused.

    A refusal would else bind an honest server alone: what only joining looks at, as a smallest number of validation
    patients, would be passed by.

    Args:
        order: that came.
        answered: by the ledger.
    """
    if not isinstance(order, JoinOrder) and (order.run, order.study.digest()) not in answered.joined:
        yield "run: this site hasn't joined it"


def repeats(order: Order, answered: Answered) -> Iterator[str]:
    """Why an order asks for what has left before; nothing where it doesn't.

    Args:
        order: that came.
        answered: by the ledger.
    """
    figures = _asks_for_figures(order)
    seed, hidden = order.study.seed, answered.seeds.get(order.study.seed)
    if hidden and (figures or isinstance(order, JoinOrder)):
        if (hidden.run, hidden.study) != (order.run, order.study.digest()):
            yield f"seed: figures with seed {seed} have left under masks in another run, and don't again: take another"
        elif isinstance(order, RoundOrder | StageOrder) and order.start_step < hidden.stop:
            yield f"seed: figures up to step {hidden.stop} have left under masks in this run, and don't again"
    if isinstance(order, RoundOrder) and answered.masked_models and array_digest(order.model) in answered.masked_models:
        yield "model: figures for this very model have left under masks, and don't again"


def beyond_updates(policy: PolicyConfig, order: Order, answered: Answered, updates: int) -> Iterator[str]:
    """Why a site with a budget of rounds judges no further model: each update that has left allows one.

    A run has one closing exchange and at least one round, so that nobody who keeps to the protocol asks for more. To
    judge a model by the same settings again, as after a crash of the server, tells nothing new.

    Args:
        policy: of the site.
        order: that came.
        answered: by the ledger.
        updates: that have left.
    """
    key = _budget(policy)
    if not key or not (_asks_for_figures(order) and order.steps == 0):
        return
    known = isinstance(order, RoundOrder) and (order.study.digest(), array_digest(order.model)) in answered.models
    if answered.judged >= updates and not known:
        yield f"policy.{key}: as many last models were judged as updates have left, {updates}"


def other_scores(policy: PolicyConfig, order: Order, answered: Answered, spent: Sequence[Spent]) -> Iterator[str]:
    """Why an order asks for more than one histogram, and counts above one set of thresholds, of one model in a run.

    The same again, as after a crash of the server, tells nothing new (`policy.release` sees to that). Where the site
    has a budget of rounds, an update has to have left in the run: then the budget bounds these answers too.

    Args:
        policy: of the site.
        order: that came.
        answered: by the ledger.
        spent: updates that have left.
    """
    if not isinstance(order, HistogramOrder | CheckOrder):
        return
    key = _budget(policy)
    if key and (order.run, order.study.digest()) not in {(update.run, update.study) for update in spent}:
        yield f"policy.{key}: no update has left in this run"
    kind, thresholds, others = "histogram", tuple[int, ...](), "of another model"
    if isinstance(order, CheckOrder):
        kind, thresholds, others = "check", (order.local, order.pooled, order.shrunken), "above other thresholds"
    left = answered.scored.get((kind, order.run))
    if left and (left.model_hash, left.thresholds) != (array_digest(order.model), thresholds):
        yield f"run: counts of scores {others} have left in it"


def _budget(policy: PolicyConfig) -> str:
    """Key of the policy that bounds updates; empty where none does."""
    return next((key for key in ("rounds_total", "rounds_per_day") if getattr(policy, key) is not None), "")


def _asks_for_figures(order: Order) -> TypeGuard[RoundOrder | StageOrder]:
    return isinstance(order, RoundOrder) or (isinstance(order, StageOrder) and order.stage == "announce")
