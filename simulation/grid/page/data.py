"""What the page of a study is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ra_core.metrics import Estimate
from ra_core.models.configs import MahalanobisConfig, NearestNeighbourConfig, PCAConfig
from simulation.grid.alarms import SHARED, Alarms, alarms
from simulation.grid.answers import Answers
from simulation.grid.arms import ARMS
from simulation.grid.cells import Cell, Refused, refused
from simulation.grid.config import GridConfig
from simulation.grid.pictures import Album
from simulation.grid.result import CellResult
from simulation.places import Place
from simulation.report.data import SiteFacts

__all__ = ["FEDERATED", "Sites", "StudyData"]

CLASSICAL = (NearestNeighbourConfig, PCAConfig, MahalanobisConfig)

FEDERATED = tuple(name for name, kind in ARMS.items() if kind.federation is not None and kind.members == "all")
"""Ways to train one model over all sites, each of which may keep parts to itself."""


@dataclass(frozen=True)
class Sites:
    """Where is measured.

    Attributes:
        facts: in the study's order.
        patients: healthy and sick test patients by site.
    """

    facts: tuple[SiteFacts, ...]
    patients: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, places: Sequence[Place]) -> Sites:
        """What there is to tell of opened sites."""
        return cls(tuple(place.facts() for place in places), {place.name: _patients(place) for place in places})

    def named(self, role: str) -> tuple[str, ...]:
        """Names of those trained on, or held out."""
        return tuple(site.name for site in self.facts if site.role == role)


def _patients(place: Place) -> tuple[int, int]:
    rows = place.images.test.rows
    healthy, sick = (len({row.patient_id for row in rows if row.label == of}) for of in ("healthy", "anomalous"))
    return healthy, sick


@dataclass(frozen=True)
class StudyData:
    """A study, as far as it is finished.

    Attributes:
        config: its settings.
        sites: where is measured.
        cells: all of the study, finished or not.
        results: finished ones, in the same order.
        command: what makes them.
        albums: pictures by site, as far as there are any.
    """

    config: GridConfig
    sites: Sites
    cells: Sequence[Cell]
    results: Sequence[CellResult]
    command: str
    albums: Sequence[Album] = ()

    @cached_property
    def answers(self) -> Answers:
        """What the results say."""
        evaluation = self.config.study.evaluation
        trained, held_out = self.sites.named("trained"), self.sites.named("held out")
        return Answers(
            self.results, trained, held_out, self.sites.patients, evaluation.confidence, evaluation.bootstrap
        )

    @cached_property
    def alarms(self) -> Mapping[str, Mapping[Alarms, Estimate]]:
        """Achieved rates of false alarms by key of the cell, where that keeps scores of healthy patients."""
        rate = self.config.study.evaluation.image_fpr
        kept = (result for result in self.results if result.arm in SHARED and result.healthy)
        return {result.key: alarms(result, self.trained, rate) for result in kept}

    @cached_property
    def metrics(self) -> frozenset[str]:
        """Of which any cell has a value."""
        return frozenset(n.metric for result in self.results for n in result.numbers if n.value is not None)

    @property
    def trained(self) -> tuple[str, ...]:
        """Sites that models are trained on."""
        return self.answers.trained

    @cached_property
    def methods(self) -> list[str]:
        """With a finished cell: RA, then others in the study's order, then the classical ones."""
        finished = set(self.answers.methods)
        found = [name for name in self.config.methods if name in finished]
        return sorted(found, key=lambda name: (name in self.classical, name != self.subject))

    @cached_property
    def subject(self) -> str:
        """The method that others are compared with: the first RA, or else the first of all."""
        methods = self.config.methods
        return next((name for name, entry in methods.items() if entry.settings.name == "ra"), next(iter(methods)))

    @cached_property
    def classical(self) -> frozenset[str]:
        """Methods that are computed from pixels, without learning."""
        return frozenset(name for name, entry in self.config.methods.items() if isinstance(entry.settings, CLASSICAL))

    @property
    def refused(self) -> list[Refused]:
        """What is asked for and can't be."""
        return refused(self.config, self.trained)

    @property
    def degraded(self) -> list[CellResult]:
        """Cells in whose training someone was missing."""
        return [result for result in self.results if result.degraded]

    @property
    def waiting(self) -> list[Cell]:
        """Cells that aren't finished."""
        done = {result.key for result in self.results}
        return [cell for cell in self.cells if cell.key not in done]

    @property
    def seeds(self) -> list[int]:
        """Of training."""
        return sorted({cell.seed for cell in self.cells if cell.is_trained})

    def label(self, method: str) -> str:
        """For tables; says which method is classical, and which has a budget of its own."""
        if method in self.classical:
            return f"{method} (classical)"
        entry = self.config.methods[method]
        batch = f"{entry.batch_size} images a step" if entry.batch_size else ""
        own = ", ".join(part for part in (entry.own_budget, batch) if part)
        return f"{method} ({own})" if own else method

    @cached_property
    def ranked(self) -> list[str]:
        """Methods that have the same budget: those with one of their own stand in tables, and lead no ranking."""
        return [name for name in self.methods if not self.config.methods[name].own_budget]

    def pooled_of(self, method: str) -> str:
        """The method whose pooled model a federated one is held against: itself, or one that differs in rounds alone.

        Empty where neither is finished: in one place there are no rounds.
        """
        methods = self.config.methods
        alone = methods[method].model_copy(update={"rounds": None, "keep_optimizer": False})
        same = (name for name in self.methods if methods[name] == alone)
        return next((name for name in (method, *same) if self.has(name, "pooled")), "")

    def kind(self, method: str) -> str:
        """Of a table's row."""
        return "ours" if method == self.subject else "baseline" if method in self.classical else "rival"

    def plain(self, method: str) -> str:
        """The plainest scoring that a method has."""
        return "residual" if self.config.methods[method].settings.reconstructs else "distance"

    def arm_of(self, method: str, ways: Sequence[str] = ("fedavg", "pooled", "local")) -> str:
        """The first of some ways to train that a method has; empty where it has none."""
        return next((arm for arm in ways if self.has(method, arm)), "")

    def has(self, method: str, *arms: str) -> bool:
        """Whether a method has finished cells in all of these ways to train."""
        return all(self.answers.of(method, arm) for arm in arms)
