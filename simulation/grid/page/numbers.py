"""Which numbers the tables have, and how an estimate or a difference becomes a cell of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ra_core.evaluation import CHOSEN_NOTE
from ra_core.metrics import Estimate
from simulation.grid.answers import Verdict
from simulation.grid.page.data import StudyData
from simulation.report.cells import Cell
from simulation.report.metrics import METRICS

__all__ = ["ALIKE", "AUROC", "COMPARED", "METRICS_ASKED", "PIXEL", "SIGNS", "Asked", "cell", "difference", "measured"]

PLAIN = "plain"
"""`scoring` that stands for a method's plainest."""

SIGNS = {Verdict.better: "▲", Verdict.worse: "▼", Verdict.equivalent: "=", Verdict.inconclusive: "?"}


@dataclass(frozen=True)
class Asked:
    """A number that tables have.

    Attributes:
        metric: as in the cells.
        scoring: by name, "plain", or empty for the chosen one.
        anomaly: as in the cells.
        suffix: of its title.
    """

    metric: str
    scoring: str = ""
    anomaly: str = "all"
    suffix: str = ""

    @property
    def title(self) -> str:
        """For people."""
        return METRICS[self.metric][0] + self.suffix

    def scoring_of(self, plain: str) -> str | None:
        """By name for a method whose plainest is given; None for the chosen one."""
        return plain if self.scoring == PLAIN else self.scoring or None


AUROC, PIXEL = Asked("auroc"), Asked("pixel_auprc")
ALIKE = (Asked("auroc", PLAIN, suffix=", plain residual"), Asked("auroc", "paper", suffix=", paper's scoring"))
"""The same for all methods, so that a model isn't praised for its scoring."""

COMPARED = (AUROC, Asked("auprc"), PIXEL, Asked("dice"), Asked("box_auroc"), Asked("box_recall"))
"""Metrics, more being better, whose bootstrap values cells keep."""

METRICS_ASKED = (
    *COMPARED,
    Asked("ssim", "reconstruction", "healthy"),
    Asked("lpips", "reconstruction", "healthy"),
    *ALIKE,
)


def cell(found: Estimate | None, extra: str = "") -> Cell | None:
    """An estimate as tables have it."""
    if found is None:
        return None
    made = Cell.of(found)
    note = "; ".join(part for part in made.note.split("; ") if part != CHOSEN_NOTE)
    return Cell(made.value, made.low, made.high, made.n_healthy, made.n_anomalous, note, extra)


def difference(found: Estimate | None) -> Cell | None:
    """A paired difference with its verdict."""
    made = cell(found)
    if found is None or made is None or made.value is None:
        return made
    verdict = Verdict.of(found)
    told = f"{SIGNS[verdict]} {verdict.value}"
    return Cell(made.value, made.low, made.high, made.n_healthy, made.n_anomalous, made.note, told, signed=True)


def measured(data: StudyData, asked: Sequence[Asked]) -> list[Asked]:
    """Those that any cell has."""
    there = {number.metric for result in data.results for number in result.numbers if number.value is not None}
    return [one for one in asked if one.metric in there]
