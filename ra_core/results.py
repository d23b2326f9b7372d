"""The tidy table that every report is made of: one number a row, with its interval, its counts and its seed."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from ra_core.files import write_atomically
from ra_core.metrics import Estimate, Resampling, average

__all__ = ["COLUMNS", "EACH_ITS_OWN", "ResultRow", "average_rows", "write_results"]

EACH_ITS_OWN = "each its own"
"""`train_sites` of an average row over sites that were each trained on themselves."""

COLUMNS = (
    "arm",
    "method",
    "scoring",
    "perceptual",
    "train_sites",
    "test_site",
    "anomaly",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "n_healthy",
    "n_anomalous",
    "seed",
    "note",
)
"""Of `results.csv`, in order; each is an attribute of `ResultRow`."""


@dataclass(frozen=True)
class ResultRow:
    """One number.

    Attributes:
        arm: how the model was trained: local, federated, pooled.
        method: ra, pca, nearest_neighbour, shortcut, ...
        scoring: a name of `glossary.SCORINGS_TOLD` or `SHORTCUTS_TOLD`, or what the method has in its place.
        perceptual: first 12 hex digits of `Perceptual.digest` where the network had a part; empty elsewhere.
        train_sites: sites trained on, joined by "+"; "each its own" in an average over sites' own models.
        test_site: site measured on, or what an average is over.
        anomaly: "all", one finding, "size: small", "size: medium", "size: large", or "synthetic: KIND" (then on
            validation images); "healthy" where only healthy images are reconstructed.
        metric: a name of `glossary.METRICS`.
        estimate: the number with its interval and counts; without a value where it can't be had.
        seed: of the run.
        remark: what a reader has to know beside the estimate's own note.
    """

    arm: str
    method: str
    scoring: str
    perceptual: str
    train_sites: str
    test_site: str
    anomaly: str
    metric: str
    estimate: Estimate
    seed: int
    remark: str = ""

    @property
    def value(self) -> float | None:
        """The number; None with the reason in `note` where it can't be had."""
        return self.estimate.value

    @property
    def ci_low(self) -> float | None:
        """Lower end of its patient-level bootstrap interval."""
        return self.estimate.ci_low

    @property
    def ci_high(self) -> float | None:
        """Upper end of it."""
        return self.estimate.ci_high

    @property
    def n_healthy(self) -> int:
        """Healthy images behind it."""
        return self.estimate.n_healthy

    @property
    def n_anomalous(self) -> int:
        """Anomalous images behind it."""
        return self.estimate.n_anomalous

    @property
    def note(self) -> str:
        """Remark and the estimate's note."""
        return "; ".join(part for part in (self.remark, self.estimate.note) if part)


Group = tuple[str, str, str, str, str, int]
"""What rows that are averaged have in common: all but their sites and what those brought with them."""

Models = dict[str, dict[str, ResultRow]]
"""A group's rows by the sites trained on and the site measured on."""


def average_rows(rows: Iterable[ResultRow], test_site: str, **resampling: Unpack[Resampling]) -> list[ResultRow]:
    """Averages over all test sites of the rows given, each site counting the same.

    Averaged are rows that have a counterpart at every site: first those of models trained on the same sites, then
    those of models that each site has for itself (arm local, baselines), whose `train_sites` reads "each its own".
    Where a site was tested with several local models, its own is the one trained on it alone.

    Args:
        rows: of one or more sites, in any order. Where sites chose different scorings, rows that call all of these by
            one name are averaged like any other.
        test_site: what the averages have in place of a site.
        resampling: that of the rows.

    Returns:
        Rows sorted by their columns, for a result that doesn't depend on the order of `rows`.

    Raises:
        ValueError: two rows differ in nothing but their number.
    """
    rows = list(rows)
    sites = sorted({row.test_site for row in rows})
    groups: dict[Group, Models] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        at_site = groups[_group(row)][row.train_sites]
        if at_site.setdefault(row.test_site, row) is not row:
            raise ValueError(f"two rows of {row.metric}, {row.anomaly}, {row.scoring}, {row.method} at {row.test_site}")
    return [
        _average([at_site[site] for site in sites], train_sites, test_site, resampling)
        for _, models in sorted(groups.items())
        for train_sites, at_site in [*sorted(models.items()), (EACH_ITS_OWN, _own(models))]
        if len(at_site) == len(sites)
    ]


def _group(row: ResultRow) -> Group:
    return row.arm, row.method, row.scoring, row.anomaly, row.metric, row.seed


def _own(models: Models) -> dict[str, ResultRow]:
    """By site, the row of the model trained on it alone, or else of its only model; none if all sites share one."""
    at_site: dict[str, list[ResultRow]] = defaultdict(list)
    for rows in models.values():
        for site, row in rows.items():
            at_site[site].append(row)
    own = {}
    for site, rows_there in at_site.items():
        home = [row for row in rows_there if row.train_sites == site] or rows_there
        if len(home) == 1:
            own[site] = home[0]
    return own if len({row.train_sites for row in own.values()}) > 1 else {}


def _average(rows: Sequence[ResultRow], train_sites: str, test_site: str, resampling: Resampling) -> ResultRow:
    remark = rows[0].remark
    if any(row.remark != remark for row in rows):
        remark = "; ".join(f"{row.test_site}: {row.remark}" for row in rows if row.remark)
    return replace(
        rows[0],
        perceptual="+".join(sorted({row.perceptual for row in rows} - {""})),
        train_sites=train_sites,
        test_site=test_site,
        estimate=average([row.estimate for row in rows], **resampling),
        remark=remark,
    )


def write_results(path: Path, rows: Iterable[ResultRow], columns: Sequence[str] = COLUMNS) -> None:
    """Write rows as CSV, in the order given; equal numbers give equal bytes.

    Args:
        path: of the file.
        rows: all of it.
        columns: attributes of the rows.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(_text(getattr(row, name)) for name in columns)
    write_atomically(path, text.getvalue().encode())


def _text(value: float | str | None) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
