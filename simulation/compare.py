"""Several finished runs side by side, as Markdown tables: what `docs/results.md` is made of."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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

Row = dict[str, str]


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


def _read(folder: Path) -> tuple[dict[str, Any], list[Row]]:
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        if record["status"] != "completed":
            raise KeyError("status")
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            f"{folder}: holds no finished run", "run `ra-simulate train` with this --out to its end"
        ) from None
    return record, rows


def _detection(
    title: str, metric: str, columns: dict[str, tuple[str, str]], runs: list[tuple[dict[str, Any], list[Row]]]
) -> str:
    lines = [_line("site", "healthy / anomalous", *columns), "|" + "---|" * (2 + len(columns))]
    for record, rows in runs:
        found = {(r["method"], r["scoring"]): r for r in rows if r["metric"] == metric and r["anomaly"] == "all"}
        chosen = record["chosen_scoring"]
        cells = []
        for method, scoring in columns.values():
            row = found.get((method, chosen if scoring == CHOSEN else scoring))
            name = f" {chosen}" if scoring == CHOSEN else ""
            cells.append(_cell(row) + name)
        some = next(iter(found.values()))
        lines.append(_line(record["plan"]["site"], f"{some['n_healthy']} / {some['n_anomalous']}", *cells))
    return f"**{title}**\n\n" + "\n".join(lines)


def _reconstruction(runs: list[tuple[dict[str, Any], list[Row]]]) -> str:
    metrics = ("ssim", "lpips", "squared_error")
    lines = [
        _line("site", "SSIM", "LPIPS", "squared error", "minutes training", "minutes evaluating", "model hash"),
        "|" + "---|" * 7,
    ]
    for record, rows in runs:
        found = {r["metric"]: r for r in rows if r["scoring"] == "reconstruction"}
        minutes = [f"{record['seconds'][part] / 60:.1f}" for part in ("training", "evaluation")]
        cells = [_cell(found.get(metric)) for metric in metrics]
        lines.append(_line(record["plan"]["site"], *cells, *minutes, record["model_hash"][:12]))
    return "**healthy test images reconstructed, and time**\n\n" + "\n".join(lines)


def _cell(row: Row | None) -> str:
    if row is None or not row["value"]:
        return "–"
    numbers = [f"{float(row[name]):.3g}" for name in ("value", "ci_low", "ci_high") if row[name]]
    return numbers[0] + (f" ({numbers[1]}–{numbers[2]})" if len(numbers) == 3 else "")


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
