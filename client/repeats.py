"""What asks for figures again that have left under masks: a second sum of them would tell a single site's.

An update is a function of model, data, seed and steps. Two sums of the same updates, over two lists of sites, differ by
those of a single site, and without masks they would be seen at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from client.ledger.answered import Answered
from ra_core.hashing import tensor_digest
from ra_core.messages import JoinOrder, Order, RoundOrder, StageOrder

__all__ = ["repeats"]


def repeats(order: Order, answered: Answered) -> Iterator[str]:
    """Why an order asks for what has left before; nothing where it doesn't.

    Args:
        order: that came.
        answered: by the ledger.
    """
    figures = isinstance(order, RoundOrder) or (isinstance(order, StageOrder) and order.stage == "announce")
    seed, hidden = order.study.seed, answered.seeds.get(order.study.seed)
    if hidden and (figures or isinstance(order, JoinOrder)):
        if (hidden.run, hidden.study) != (order.run, order.study.digest()):
            yield f"seed: figures with seed {seed} have left under masks in another run, and don't again: take another"
        elif isinstance(order, RoundOrder | StageOrder) and order.start_step < hidden.stop:
            yield f"seed: figures up to step {hidden.stop} have left under masks in this run, and don't again"
    if isinstance(order, RoundOrder) and answered.masked_models and _hash(order) in answered.masked_models:
        yield "model: figures for this very model have left under masks, and don't again"


def _hash(order: RoundOrder) -> str:
    return tensor_digest({name: torch.from_numpy(array) for name, array in order.model.items()})
