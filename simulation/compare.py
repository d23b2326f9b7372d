"""Several finished runs side by side, as Markdown tables: what `docs/results.md` is made of."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ra_core.errors import DataError

__all__ = ["compare"]

CHOSEN = "chosen"
"""Stands for the scoring that a run chose on synthetic anomalies."""

IMAGE_COLUMNS = {
    "RA, scoring chosen without labels": ("ra", CHOSEN),
    "RA, the paper's scoring": ("ra", "paper"),
    "RA, plain residual": ("ra", "residual"),
    "nearest neighbour": ("nearest_neighbour", "residual"),
    "PCA residual": ("pca", "residual"),
    "brightness": ("shortcut", "brightness"),
    "foreground": ("shortcut", "foreground"),
    "sharpness": ("shortcut", "sharpness"),
}
PIXEL_COLUMNS = {name: where for name, where in IMAGE_COLUMNS.items() if where[0] != "shortcut"}

READ = {"method", "scoring", "metric", "anomaly", "value", "ci_low", "ci_high", "n_healthy", "n_anomalous"}
"""The columns of results.csv that the tables are made of."""

Row = dict[str, str]


@dataclass(frozen=True)
class _Run:
    """What the tables need of a finished run."""

    site: str
    chosen: str
    minutes: tuple[float, float]
    model_hash: str
    rows: list[Row]


def compare(folders: Sequence[Path]) -> str:
    """Tables of image AUROC, pixel AUPRC, oracle Dice, reconstruction and time of finished runs.

    Raises:
        DataError: a folder holds no finished run.
    """
    runs = [_read(folder) for folder in folders]
    return "\n\n".join(
        [
            _detection("image AUROC", "auroc", IMAGE_COLUMNS, runs),
            _detection("pixel AUPRC", "pixel_auprc", PIXEL_COLUMNS, runs),
            _detection(
                "best Dice over all thresholds (oracle: it looks at the labels)", "oracle_dice", PIXEL_COLUMNS, runs
            ),
            _reconstruction(runs),
        ]
    )


def _read(folder: Path) -> _Run:
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        if record["status"] != "completed" or not rows or not READ.issubset(rows[0]):
            raise ValueError
        minutes = (record["seconds"]["training"] / 60, record["seconds"]["evaluation"] / 60)
        return _Run(record["plan"]["site"], record["chosen_scoring"], minutes, record["model_hash"], rows)
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            f"{folder}: holds no finished run", "run `ra-simulate train` with this --out to its end"
        ) from None


def _detection(title: str, metric: str, columns: dict[str, tuple[str, str]], runs: list[_Run]) -> str:
    lines = [_line("site", "healthy / anomalous", *columns), "|" + "---|" * (2 + len(columns))]
    for run in runs:
        found = {(r["method"], r["scoring"]): r for r in run.rows if r["metric"] == metric and r["anomaly"] == "all"}
        cells = []
        for method, scoring in columns.values():
            row = found.get((method, run.chosen if scoring == CHOSEN else scoring))
            name = f" {run.chosen}" if scoring == CHOSEN else ""
            cells.append(_cell(row) + name)
        counts = next((f"{row['n_healthy']} / {row['n_anomalous']}" for row in found.values()), "–")
        lines.append(_line(run.site, counts, *cells))
    return f"**{title}**\n\n" + "\n".join(lines)


def _reconstruction(runs: list[_Run]) -> str:
    metrics = ("ssim", "lpips", "squared_error")
    lines = [
        _line("site", "SSIM", "LPIPS", "squared error", "minutes training", "minutes evaluating", "model hash"),
        "|" + "---|" * 7,
    ]
    for run in runs:
        found = {r["metric"]: r for r in run.rows if r["scoring"] == "reconstruction"}
        minutes = [f"{spent:.1f}" for spent in run.minutes]
        cells = [_cell(found.get(metric)) for metric in metrics]
        lines.append(_line(run.site, *cells, *minutes, run.model_hash[:12]))
    return "**healthy test images reconstructed, and time**\n\n" + "\n".join(lines)


def _cell(row: Row | None) -> str:
    if row is None or not row["value"]:
        return "–"
    numbers = [f"{float(row[name]):.3g}" for name in ("value", "ci_low", "ci_high") if row[name]]
    return numbers[0] + (f" ({numbers[1]}–{numbers[2]})" if len(numbers) == 3 else "")


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
