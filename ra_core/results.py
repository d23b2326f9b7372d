"""The tidy table that every report is made of: one number a row, with its interval, its counts and its seed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from ra_core.metrics import Estimate
from ra_core.storage import write_atomically

__all__ = ["ResultRow", "write_results"]


@dataclass(frozen=True)
class ResultRow:
    """One number. Fields are the columns of `results.csv`.

    Attributes:
        arm: how the model was trained: local, federated, pooled.
        method: ra, pca, nearest_neighbour, shortcut, ...
        scoring: a name of `scoring.SCORINGS`, or what the method has in its place.
        perceptual: first 12 hex digits of `Perceptual.digest` where the network had a part; empty elsewhere.
        train_sites: sites trained on, joined by "+".
        test_site: site measured on.
        anomaly: "all", one pathology, or "synthetic: KIND" (then on validation images).
        metric: auroc, auprc, pixel_auroc, pixel_auprc, dice, oracle_dice, ssim, lpips, squared_error.
        value: the number; empty with the reason in `note` where it can't be had.
        ci_low, ci_high: ends of its patient-level bootstrap interval.
        n_healthy, n_anomalous: images behind it.
        seed: of the run.
        note: what a reader has to know.
    """

    arm: str
    method: str
    scoring: str
    perceptual: str
    train_sites: str
    test_site: str
    anomaly: str
    metric: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n_healthy: int
    n_anomalous: int
    seed: int
    note: str = ""

    @classmethod
    def of(cls, estimate: Estimate, note: str = "", **where: str | int) -> ResultRow:
        """A row from an estimate and the columns that say what it is about."""
        notes = "; ".join(part for part in (note, estimate.note) if part)
        numbers = {name: getattr(estimate, name) for name in ("value", "ci_low", "ci_high", "n_healthy", "n_anomalous")}
        return cls(**where, **numbers, note=notes)  # type: ignore[arg-type]


def write_results(path: Path, rows: Iterable[ResultRow]) -> None:
    """Write rows as CSV, in the order given; equal numbers give equal bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(ResultRow))
    for row in rows:
        writer.writerow(_text(getattr(row, field.name)) for field in fields(ResultRow))
    write_atomically(path, text.getvalue().encode())


def _text(value: float | str | None) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
