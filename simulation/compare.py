"""Finished runs as Markdown tables, methods by sites. Studies make their own (`simulation.grid.page`)."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ra_core.errors import DataError
from ra_core.evaluation import CHOSEN_NOTE
from ra_core.results import EACH_ITS_OWN
from simulation.report import CHOSEN

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
    """What the tables need of a finished run, and what it is called there."""

    name: str
    status: str
    seconds: Mapping[str, float]
    model_hash: Mapping[str, str]
    rows: list[Row]


def compare(folders: Sequence[Path]) -> str:
    """Tables of detection, localisation and time of finished runs.

    Sites of all runs stand side by side; a column that several runs have is told apart by the names of their folders,
    and where these are the same, by as many folders above as it takes. A folder that is given twice counts once.

    Raises:
        DataError: a folder holds no finished run.
    """
    once = list({os.path.abspath(folder): folder for folder in folders}.values())
    runs = [_read(folder, name) for folder, name in zip(once, _names(once), strict=True)]
    places = Counter(place for run in runs for place in {row["test_site"] for row in run.rows})
    cells = [
        (row["metric"], label, f"{run.name}: {place}" if places[place] > 1 else place, _cell(row))
        for run in runs
        for row in run.rows
        if row["anomaly"] == "all"
        for place in [row["test_site"]]
        for label in _labels(row)
    ]
    tables = [_table(title, [cell[1:] for cell in cells if cell[0] == metric]) for metric, title in METRICS.items()]
    return "\n\n".join([*(table for table in tables if table), _times(runs)])


def _names(folders: Sequence[Path]) -> list[str]:
    """Of each folder, all different, the shortest end of its path that no other one has."""
    paths = [Path(os.path.abspath(folder)).parts for folder in folders]
    ends = [["/".join(parts[-n:]) for n in range(1, 1 + len(parts))] for parts in paths]
    counts = Counter(end for known in ends for end in known)
    return [next(end for end in known if counts[end] == 1) for known in ends]


def _read(folder: Path, name: str) -> _Run:
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
            rows: list[Row] = list(csv.DictReader(file))
        if record["status"] not in ("completed", "degraded") or not rows or not READ.issubset(rows[0]):
            raise ValueError
        return _Run(name, record["status"], record["seconds"], record["model_hash"], rows)
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder}: holds no finished run", "run the command with this --out to its end") from None


def _labels(row: Row) -> Iterator[str]:
    """How tables name what a row is about: a model or baseline with its chosen scoring, and with a set one."""
    method, scoring = row["method"], row["scoring"]
    if method == "shortcut":
        yield scoring
        return
    name, fixed, told = (method.replace("_", " "), "residual", "plain residual")
    if method == "ra":
        name, fixed, told = f"RA {_arm(row)}", "paper", "the paper's scoring"
    # An average over sites has the chosen scorings under one name, a site under the scoring's.
    if scoring == CHOSEN or (CHOSEN_NOTE in row["note"] and not row["test_site"].startswith("average")):
        yield f"{name}, scoring chosen without labels"
    if scoring == fixed:
        yield f"{name}, {told}"


def _arm(row: Row) -> str:
    if row["arm"] != "local":
        return row["arm"]
    return (
        "each site's own" if row["train_sites"] in (row["test_site"], EACH_ITS_OWN) else f"{row['train_sites']}'s own"
    )


def _table(title: str, cells: Sequence[tuple[str, str, str]]) -> str:
    """Of labels, columns and texts; empty without any.

    Raises:
        ValueError: two texts for one cell.
    """
    found: dict[tuple[str, str], str] = {}
    for label, place, text in cells:
        if found.setdefault((label, place), text) != text:
            raise ValueError(f"two results for {label} at {place}")
    if not found:
        return ""
    labels, places = (list(dict.fromkeys(key[side] for key in found)) for side in (0, 1))
    lines = [_line("", *places), "|" + "---|" * (1 + len(places))]
    lines += [_line(label, *(found.get((label, place), "–") for place in places)) for label in labels]
    return f"**{title}**\n\n" + "\n".join(lines)


def _times(runs: Sequence[_Run]) -> str:
    lines = [_line("run", "status", "part", "minutes", "model hash"), "|" + "---|" * 5]
    for run in runs:
        for part, seconds in run.seconds.items():
            hashed = run.model_hash.get(part.removeprefix("training "), "")[:12]
            lines.append(_line(run.name, run.status, part, f"{seconds / 60:.1f}", hashed))
    return "**time**\n\n" + "\n".join(lines)


def _cell(row: Row) -> str:
    if not row["value"]:
        return "not estimable"
    numbers = [f"{float(row[name]):.3g}" for name in ("value", "ci_low", "ci_high") if row[name]]
    return numbers[0] + (f" ({numbers[1]}–{numbers[2]})" if len(numbers) == 3 else "")


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
