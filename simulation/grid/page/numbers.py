"""Which numbers the tables have, and how an estimate or a difference becomes a cell of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ra_core.evaluation import CHOSEN_NOTE
from ra_core.metrics import Estimate
from simulation.grid.page.data import StudyData
from simulation.grid.paired import Paired, Verdict
from simulation.report.cells import Cell
from simulation.report.metrics import METRICS

__all__ = [
    "ALIKE",
    "AUROC",
    "COMPARED",
    "HEADLINES",
    "METRICS_ASKED",
    "PLACES_ALIKE",
    "RATES",
    "RATES_ALIKE",
    "SIGNS",
    "Asked",
    "cell",
    "difference",
    "measured",
]

PLAIN = "plain"
"""`scoring` that stands for a method's plainest."""

SIGNS = {
    Verdict.better: "▲",
    Verdict.worse: "▼",
    Verdict.equivalent: "=",
    Verdict.same: "≡",
    Verdict.inconclusive: "?",
}


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


AUROC = Asked("auroc")

HEADLINES = (AUROC, Asked("pixel_auprc"), Asked("box_auroc"))
"""What answers and figures are about: which image is sick, and where, by masks or by boxes."""

FIXED = {PLAIN: ", plain residual", "paper": ", paper's scoring"}
"""Scorings that are the same for all methods, so that a model isn't praised for its scoring."""

ALIKE = tuple(Asked("auroc", scoring, suffix=suffix) for scoring, suffix in FIXED.items())
PLACES_ALIKE = tuple(Asked("pixel_auprc", scoring, suffix=suffix) for scoring, suffix in FIXED.items())
"""Tables have means of these, and no differences: older cells keep no bootstrap values of them."""

RATES = (Asked("detection_rate"), Asked("false_alarm_rate"))
RATES_ALIKE = tuple(replace(rate, scoring=PLAIN, suffix=", plain residual") for rate in RATES)
"""At the threshold from healthy validation images; as chosen, and alike for all methods."""

COMPARED = (AUROC, Asked("auprc"), Asked("pixel_auprc"), Asked("dice"), Asked("box_auroc"), Asked("box_recall"))
"""Metrics, more being better, whose bootstrap values cells keep."""

METRICS_ASKED = (
    *COMPARED,
    Asked("box_f1"),
    Asked("box_f1_scale_free"),
    Asked("ssim", "reconstruction", "healthy"),
    Asked("lpips", "reconstruction", "healthy"),
    *ALIKE,
)


def cell(found: Estimate | None, extra: str = "") -> Cell | None:
    """An estimate as tables have it."""
    return None if found is None else replace(_cell(found), extra=extra)


def difference(found: Paired | None) -> Cell | None:
    """A paired difference with its verdict."""
    if found is None or found.value is None:
        return cell(found)
    verdict = Verdict.of(found)
    return replace(_cell(found), extra=f"{SIGNS[verdict]} {verdict.value}", signed=True)


def _cell(found: Estimate) -> Cell:
    """Without what tables say of every number."""
    made = Cell.of(found)
    return replace(made, note="; ".join(part for part in made.note.split("; ") if part != CHOSEN_NOTE))


def measured(data: StudyData, asked: Sequence[Asked]) -> list[Asked]:
    """Those that any cell has."""
    return [one for one in asked if one.metric in data.metrics]
