"""`report.html`: one file that needs no other, no network and no script."""

from __future__ import annotations

import json
from pathlib import Path

from jinja2 import Environment

from ra_core.files import write_atomically
from ra_core.pages import page_bytes, page_environment
from ra_core.words import duration
from server.rounds.outcome import absences
from simulation.report import sections
from simulation.report.cells import number, unbroken
from simulation.report.data import ReportData
from simulation.report.doubts import doubts
from simulation.report.findings import Findings
from simulation.report.metrics import METRICS
from simulation.report.training import training
from simulation.report.words import capital, comparisons, headline, introduction

__all__ = ["write_report"]


def write_report(path: Path, data: ReportData) -> None:
    """Write the page, atomically; equal data give equal bytes.

    Raises:
        ValueError: two rows are about the same thing, or there is no model.
        OSError: the disk is full or the folder can't be written.
    """
    write_atomically(path, page_bytes(_render(data)))


def _render(data: ReportData) -> str:
    findings = Findings(data)
    asked = {sections.QUESTIONS[metric]: metric for metric in ("pixel_auprc", "auroc")}
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            study=findings.study,
            ours=findings.ours,
            introduction=introduction(findings),
            summary=[(q, METRICS[m][0], headline(findings, m), comparisons(findings, m)) for q, m in asked.items()],
            doubts=doubts(findings),
            absences={arm.name: absences(arm.rounds) for arm in data.arms if arm.rounds},
            results=sections.results(findings),
            groups=sections.by_group(findings),
            scorings=sections.by_scoring(findings),
            training=training(data.arms),
            reconstruction=sections.reconstruction(findings),
            definitions=[METRICS[name] for name in METRICS if any(row.metric == name for row in data.rows)],
            seeds=sorted({row.seed for row in data.rows}),
            shortcuts=findings.shortcuts,
            record=json.dumps(data.record, indent=2, ensure_ascii=False),
        )
    )


def _environment() -> Environment:
    environment = page_environment("simulation.report")
    environment.filters |= {"capital": capital, "duration": duration, "number": number, "unbroken": unbroken}
    return environment
