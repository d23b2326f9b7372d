"""Finished runs as Markdown tables, methods by sites: what `docs/results.md` is made of."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ra_core.errors import DataError
from ra_core.evaluation import CHOSEN_NOTE

__all__ = ["compare"]

METRICS = {
    "pixel_auprc": "pixel AUPRC: where the lesion is",
    "auroc": "image AUROC: which image is sick",
    "detection_rate": "share of sick images above the threshold set on healthy validation images",
    "false_alarm_rate": "share of healthy images above that threshold",
    "oracle_dice": "best Dice over all thresholds (oracle: it looks at the labels)",
}
READ = {
    "arm",
    "method",
    "scoring",
    "train_sites",
    "test_site",
    "metric",
    "anomaly",
    "value",
    "ci_low",
    "ci_high",
    "note",
}
"""The columns of results.csv that the tables are made of."""

Row = Mapping[str, str]


@dataclass(frozen=True)
class _Run:
    """What the tables need of a finished run."""

    status: str
    seconds: Mapping[str, float]
    model_hash: Mapping[str, str]
    rows: list[Row]


def compare(folders: Sequence[Path]) -> str:
    """Tables of detection, localisation and time of finished runs; sites of all runs stand side by side.

    Raises:
        DataError: a folder holds no finished run.
    """
    runs = [_read(folder) for folder in folders]
    rows = [row for run in runs for row in run.rows if row["anomaly"] == "all" and _label(row)]
    tables = [_table(title, [row for row in rows if row["metric"] == metric]) for metric, title in METRICS.items()]
    return "\n\n".join([*(table for table in tables if table), _times(folders, runs)])


def _read(folder: Path) -> _Run:
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
            rows: list[Row] = list(csv.DictReader(file))
        if record["status"] not in ("completed", "degraded") or not rows or not READ.issubset(rows[0]):
            raise ValueError
        return _Run(record["status"], record["seconds"], record["model_hash"], rows)
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder}: holds no finished run", "run the command with this --out to its end") from None


def _label(row: Row) -> str:
    """How a table names what a row is about; empty for what it doesn't show."""
    method, scoring = row["method"], row["scoring"]
    if method == "shortcut":
        return scoring
    if method != "ra":
        return method.replace("_", " ")
    if row["arm"] == "local":
        own = row["train_sites"] in (row["test_site"], "each its own")
        arm = "each site's own" if own else f"{row['train_sites']}'s own"
    else:
        arm = row["arm"]
    # An average over sites has the chosen scorings under one name, a site under the scoring's.
    if scoring == "chosen" or (CHOSEN_NOTE in row["note"] and not row["test_site"].startswith("average")):
        return f"RA {arm}, scoring chosen without labels"
    return f"RA {arm}, the paper's scoring" if scoring == "paper" else ""


def _table(title: str, rows: Sequence[Row]) -> str:
    cells: dict[tuple[str, str], str] = {}
    for row in rows:
        both = row["scoring"] == "paper" and CHOSEN_NOTE in row["note"] and not row["test_site"].startswith("average")
        paper = _label({**row, "note": ""}) if both else ""
        for label in filter(None, (_label(row), paper)):
            cells[label, row["test_site"]] = _cell(row)
    if not cells:
        return ""
    labels, sites = (list(dict.fromkeys(key[place] for key in cells)) for place in (0, 1))
    lines = [_line("", *sites), "|" + "---|" * (1 + len(sites))]
    lines += [_line(label, *(cells.get((label, site), "–") for site in sites)) for label in labels]
    return f"**{title}**\n\n" + "\n".join(lines)


def _times(folders: Sequence[Path], runs: Sequence[_Run]) -> str:
    lines = [_line("run", "status", "part", "minutes", "model hash"), "|" + "---|" * 5]
    for folder, run in zip(folders, runs, strict=True):
        for part, seconds in run.seconds.items():
            hashed = run.model_hash.get(part.removeprefix("training "), "")[:12]
            lines.append(_line(folder.name, run.status, part, f"{seconds / 60:.1f}", hashed))
    return "**time**\n\n" + "\n".join(lines)


def _cell(row: Row) -> str:
    if not row["value"]:
        return "not estimable"
    numbers = [f"{float(row[name]):.3g}" for name in ("value", "ci_low", "ci_high") if row[name]]
    return numbers[0] + (f" ({numbers[1]}–{numbers[2]})" if len(numbers) == 3 else "")


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
