"""Orders of a run, made from its state: who is told what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flwr.app import RecordDict

from ra_core.config import StudyConfig
from ra_core.hashing import array_digest
from ra_core.installed import package_hash
from ra_core.messages import (
    CheckOrder,
    ChosenOrder,
    DeliveryOrder,
    HistogramOrder,
    JoinOrder,
    RoundOrder,
    Stage,
    StageOrder,
    arrays,
    task_digest,
)
from server.rounds.card import model_card
from server.rounds.progress import Progress

__all__ = ["Orders"]


@dataclass(frozen=True)
class Orders:
    """Makes the orders of one run.

    Attributes:
        study: settings, the same for all sites.
        run: its name.
    """

    study: StudyConfig
    run: str

    def join(self) -> JoinOrder:
        """To nodes that are not in yet."""
        return JoinOrder(study=self.study, run=self.run, package_hash=package_hash())

    def next_round(self, progress: Progress, steps: int) -> RoundOrder:
        """Of the next exchange, for a site without a round behind it.

        Args:
            progress: so far.
            steps: 0 in the closing exchange.
        """
        federation = self.study.federation
        return RoundOrder(
            study=self.study,
            run=self.run,
            package_hash=package_hash(),
            round=progress.round + 1,
            base_round=0,
            best_round=0,
            start_step=progress.round * federation.local_steps,
            steps=steps,
            proximal_mu=federation.proximal_mu,
            model=progress.model,
        )

    def stage(self, order: RoundOrder, stage: Stage, relayed: Mapping[str, bytes]) -> StageOrder:
        """Of a short exchange of secure aggregation.

        Args:
            order: of the round that it belongs to.
            stage: what is asked.
            relayed: other sites' messages.
        """
        return StageOrder(
            study=self.study,
            run=self.run,
            package_hash=package_hash(),
            stage=stage,
            round=order.round,
            start_step=order.start_step,
            steps=order.steps,
            task=task_digest(order, array_digest(order.model)),
            relayed=relayed,
        )

    @staticmethod
    def addressed(order: RoundOrder, asked: Mapping[int, str], progress: Progress) -> dict[int, RecordDict]:
        """The order by node; all share one record of the model, so it is in memory once."""
        model = arrays(order.model, order.study.federation.compress)
        found = {}
        for node, site in asked.items():
            base, best = progress.counted(site, progress.round), progress.counted(site, progress.best_round)
            own = replace(order, base_round=base, best_round=best, **_acknowledged(site, progress))
            found[node] = own.to_record(model)
        return found

    def delivery(self, asked: Mapping[int, str], progress: Progress) -> dict[int, RecordDict]:
        """The best model, by node."""
        card = model_card(self.study, progress)
        order = DeliveryOrder(**self._chosen(progress), card=card.model_dump_json(), model_hash=card.model_hash)
        return _to_each(dict.fromkeys(asked, order), asked, progress)

    def histogram(self, asked: Mapping[int, str], progress: Progress) -> dict[int, RecordDict]:
        """The question how healthy patients score with the best model, by node."""
        order = HistogramOrder(**self._chosen(progress))
        return _to_each(dict.fromkeys(asked, order), asked, progress)

    def check(
        self, asked: Mapping[int, str], progress: Progress, places: Mapping[str, Mapping[str, int]]
    ) -> dict[int, RecordDict]:
        """The question how many of them are above thresholds, by node.

        Args:
            asked: sites by node.
            progress: so far.
            places: of each site's thresholds among the published edges.
        """
        chosen = self._chosen(progress)
        orders = {node: CheckOrder(**chosen | dict(places[site])) for node, site in asked.items()}
        return _to_each(orders, asked, progress)

    def _chosen(self, progress: Progress) -> dict[str, Any]:
        """What every order with the best model begins with."""
        names = {"study": self.study, "run": self.run, "package_hash": package_hash()}
        return names | {"model": progress.best, "base_round": 0}


def _to_each(orders: Mapping[int, ChosenOrder], asked: Mapping[int, str], progress: Progress) -> dict[int, RecordDict]:
    """Orders by node, each with what is its site's own; all share one record of the model."""
    compress = any(order.study.federation.compress for order in orders.values())
    model, found = arrays(progress.best, compress), {}
    for node, site in asked.items():
        base = progress.counted(site, progress.best_round)
        found[node] = replace(orders[node], base_round=base, **_acknowledged(site, progress)).to_record(model)
    return found


def _acknowledged(site: str, progress: Progress) -> dict[str, Any]:
    """What the server has of a site's ledger."""
    length, head = progress.ledgers.get(site, (0, ""))
    return {"ledger_length": length, "ledger_head": head}
