"""What a finished cell leaves: one small JSON file, enough for every table and every paired comparison."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from ra_core.errors import ResumeError
from ra_core.files import write_atomically
from ra_core.metrics import Estimate
from ra_core.results import ResultRow
from ra_core.settings import Config, first_problem
from simulation.grid.cells import Cell

__all__ = ["PAIRED", "SHOWN_BESIDE", "TWINS", "CellResult", "HealthyScores", "Number", "load", "save"]

RATES = ("detection_rate", "false_alarm_rate")
TWINS = tuple(f"{metric}_{where}" for metric in ("ssim", "squared_error", "lpips") for where in ("lesion", "rest"))
REBUILT = ("ssim", "lpips", *TWINS)
PAIRED = ("auroc", "auprc", "pixel_auprc", "dice", "box_auroc", "box_recall", *RATES, *REBUILT)
"""Metrics whose bootstrap values are kept where all lie in [0, 1], as they nearly always do: cells of one study draw
the same patients, so that the values of two of them differ by the paired difference."""

SHOWN_BESIDE = ("residual", "paper", "distance")
"""Scorings that tables have beside the chosen one, alike for all methods: the plain residual or distance, RA's."""

PAIRED_BESIDE = ("auroc", "pixel_auprc")
"""Metrics whose bootstrap values are kept of these: tables have no other. Older cells have image AUROC's alone."""

STEPS = 65534
"""Bootstrap values are kept as multiples of 1 / STEPS."""

NONE = 65535
"""What stands for a bootstrap value that is undefined."""


class Number(Config):
    """One number of a cell; attributes as of `ResultRow`."""

    test_site: str
    scoring: str
    anomaly: str
    metric: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n_healthy: int
    n_anomalous: int
    note: str
    perceptual: str
    resampled: str = ""

    @classmethod
    def of(cls, row: ResultRow, paired: Collection[str] = PAIRED) -> Number:
        """Six digits of a row; its bootstrap values where they are of use: of `paired` metrics."""
        values = row.estimate.resampled
        whole = row.metric in paired and row.anomaly in ("all", "healthy")
        keep = whole and len(values) and not np.any((values < 0) | (values > 1))
        return cls(
            test_site=row.test_site,
            scoring=row.scoring,
            anomaly=row.anomaly,
            metric=row.metric,
            value=_short(row.value),
            ci_low=_short(row.ci_low),
            ci_high=_short(row.ci_high),
            n_healthy=row.n_healthy,
            n_anomalous=row.n_anomalous,
            note=row.note,
            perceptual=row.perceptual,
            resampled=_packed(values) if keep else "",
        )

    @property
    def estimate(self) -> Estimate:
        """With the bootstrap values that were kept."""
        found = _unpacked(self.resampled)
        return Estimate(self.value, self.ci_low, self.ci_high, self.n_healthy, self.n_anomalous, self.note, found)


class HealthyScores(Config):
    """Cells (first, last, count) of `ra_core.thresholds.Histogram`: scores of a site's healthy patients, one each.

    Attributes:
        val: of calibration patients where the site has a split of these, else of validation patients.
        test: of test patients.
    """

    val: tuple[tuple[int, int, int], ...]
    test: tuple[tuple[int, int, int], ...]


class CellResult(Config):
    """A finished cell.

    Attributes:
        key, method, arm, variant, seed, train_sites: which one.
        made_of: digest of what its numbers depend on.
        config: the name in the method's settings, as `ra`.
        model_hash: of the model used at each site.
        selected: which step or round was chosen.
        chosen: the scoring that healthy validation images and synthetic anomalies chose, by site.
        synthetic: its mean AUROC on those, by site.
        adapted: steps that private parts were trained for at sites that took no part.
        degraded: who was missing in training, and why.
        numbers: of every site.
        healthy: scores of healthy patients by site, of those with validation images of their own, and by scoring, of
            those in `SHOWN_BESIDE`; empty in cells that were computed before they were kept.
        seconds: of training and of measuring.
        resumed: whether it was stopped on the way: then `seconds` are of its last start alone.
        machine, software: that it ran on.
    """

    key: str
    method: str
    arm: str
    variant: str
    seed: int
    train_sites: tuple[str, ...]
    made_of: str
    config: str
    model_hash: dict[str, str] = Field(default_factory=dict)
    selected: str = ""
    chosen: dict[str, str] = Field(default_factory=dict)
    synthetic: dict[str, float] = Field(default_factory=dict)
    adapted: int = 0
    degraded: tuple[str, ...] = ()
    numbers: tuple[Number, ...]
    healthy: dict[str, dict[str, HealthyScores]] = Field(default_factory=dict)
    seconds: dict[str, float]
    resumed: bool = False
    machine: dict[str, str | int]
    software: dict[str, str]

    @staticmethod
    def named(cell: Cell) -> dict[str, Any]:
        """The fields that say which cell it is."""
        names = {"key": cell.key, "method": cell.method, "arm": cell.arm, "variant": cell.variant.name}
        return names | {"seed": cell.seed, "train_sites": cell.variant.sites}


def save(folder: Path, result: CellResult) -> None:
    """Write a cell's file, atomically."""
    write_atomically(folder / f"{result.key}.json", (result.model_dump_json(indent=0) + "\n").encode())


def load(folder: Path, key: str) -> CellResult | None:
    """A cell's file; None where there is none.

    Raises:
        ResumeError: it can't be read.
    """
    path = folder / f"{key}.json"
    try:
        return CellResult.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ResumeError(f"{path}: {first_problem(error, 'cell')}", "delete it; the cell is computed again") from None


def numbers(rows: Iterable[ResultRow], chosen: Mapping[str, str], kept: Iterable[str]) -> tuple[Number, ...]:
    """Rows of each site's chosen scoring, and those on all images of a few others.

    Args:
        rows: of all sites.
        chosen: scoring by site.
        kept: names of further scorings.
    """
    others, found = set(kept), list[Number]()
    for row in rows:
        best = chosen.get(row.test_site)
        if row.scoring == best or (row.scoring in others and row.anomaly in ("all", "healthy")):
            beside = row.scoring in SHOWN_BESIDE and row.scoring != best
            found.append(Number.of(row, PAIRED_BESIDE if beside else PAIRED))
    return tuple(found)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _packed(values: NDArray[np.float64]) -> str:
    steps = np.where(np.isnan(values), NONE, np.rint(np.nan_to_num(values) * STEPS))
    return base64.b64encode(steps.astype("<u2").tobytes()).decode()


def _unpacked(text: str) -> NDArray[np.float64]:
    steps = np.frombuffer(base64.b64decode(text), "<u2").astype(np.float64)
    return np.where(steps == NONE, np.nan, steps / STEPS)
