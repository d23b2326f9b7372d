"""What asks again: for figures that have left under masks, or for a judgement of one model after the other.

An update is a function of model, data, seed and steps. Two sums of the same updates, over two lists of sites, differ by
those of a single site, and without masks they would be seen at once. A judgement is a mean over validation images of a
function that the server has chosen: of thousands of models made for that they would tell the images' mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

import torch

from client.ledger.answered import Answered
from ra_core.config import PolicyConfig
from ra_core.hashing import tensor_digest
from ra_core.messages import JoinOrder, Order, RoundOrder, StageOrder

__all__ = ["beyond_updates", "repeats"]


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
    if isinstance(order, RoundOrder) and answered.masked_models and _hash(order) in answered.masked_models:
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
    key = "rounds_total" if policy.rounds_total is not None else "rounds_per_day"
    if getattr(policy, key) is None or not (_asks_for_figures(order) and order.steps == 0):
        return
    known = isinstance(order, RoundOrder) and (order.study.digest(), _hash(order)) in answered.models
    if answered.judged >= updates and not known:
        yield f"policy.{key}: as many last models were judged as updates have left, {updates}"


def _asks_for_figures(order: Order) -> TypeGuard[RoundOrder | StageOrder]:
    return isinstance(order, RoundOrder) or (isinstance(order, StageOrder) and order.stage == "announce")


def _hash(order: RoundOrder) -> str:
    return tensor_digest({name: torch.from_numpy(array) for name, array in order.model.items()})
