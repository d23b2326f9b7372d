"""Writing what a study's cells amount to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml

from ra_core.files import write_atomically
from ra_core.pages import page_bytes, page_environment
from ra_core.results import COLUMNS, ResultRow, write_results
from ra_core.words import counted, duration
from simulation.grid.alarms import UNIT
from simulation.grid.arms import ARMS
from simulation.grid.page.chapters import chapters
from simulation.grid.page.data import StudyData
from simulation.grid.page.doubts import doubts
from simulation.grid.page.markdown import as_markdown
from simulation.grid.page.numbers import SIGNS
from simulation.grid.page.words import banner, headline, introduction
from simulation.grid.paired import FEW_FOR_EQUIVALENCE, FEW_TO_JUDGE, LEAST, MARGIN
from simulation.grid.pictures import BRIGHTEST
from simulation.grid.result import CellResult
from simulation.report.cells import unbroken
from simulation.report.metrics import METRICS
from simulation.report.words import capital

__all__ = ["PAGE", "RESULTS", "TABLES", "write_study"]

PAGE, RESULTS, TABLES = "report.html", "results.csv", "tables.md"


@dataclass(frozen=True)
class _Row(ResultRow):
    """A number of a cell; which of an arm's models it is of stands beside the arm."""

    variant: str = ""


def write_study(out: Path, data: StudyData) -> None:
    """Write page, tables and numbers, each atomically; equal cells give equal bytes.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    columns = (COLUMNS[0], "variant", *COLUMNS[1:])
    write_results(out / RESULTS, _rows(data), columns)
    asked, missing, compared, limits = chapters(data), banner(data), introduction(data), doubts(data)
    told = [*missing, compared, *_footing(data)]
    write_atomically(out / TABLES, page_bytes(as_markdown(data.config.title, data.command, told, limits, asked)))
    measured = _metrics(data)
    environment = page_environment("simulation.grid.page", "simulation.report")
    environment.filters |= {"capital": capital, "duration": duration, "unbroken": unbroken}
    page = environment.get_template("study.html.j2").render(
        data=data,
        evaluation=data.config.study.evaluation,
        banner=missing,
        introduction=compared,
        cards=headline(data, {chapter.anchor: chapter.points for chapter in asked}),
        chapters=asked,
        doubts=limits,
        brightest=BRIGHTEST,
        margin=MARGIN,
        least=LEAST,
        few_to_judge=FEW_TO_JUDGE,
        few_for_equivalence=FEW_FOR_EQUIVALENCE,
        signs={verdict.value: sign for verdict, sign in SIGNS.items()},
        methods={name: data.config.methods[name].settings for name in data.config.methods},
        arms={name: ARMS[name] for name in ARMS if any(cell.arm == name for cell in data.cells)},
        definitions=[METRICS[name] for name in METRICS if name in measured],
        seconds=_seconds(data),
        lost=_lost(data),
        machines=_machines(data),
        software=_software(data),
        settings=_settings(data),
    )
    write_atomically(out / PAGE, page_bytes(page))


def _rows(data: StudyData) -> Iterator[_Row]:
    for result in data.results:
        for number in result.numbers:
            yield _Row(
                arm=result.arm,
                variant=result.variant,
                method=result.method,
                scoring=number.scoring,
                perceptual=number.perceptual,
                train_sites="+".join(result.train_sites),
                test_site=number.test_site,
                anomaly=number.anomaly,
                metric=number.metric,
                estimate=number.estimate,
                seed=result.seed,
            )
        yield from _alarms(result, data)


def _alarms(result: CellResult, data: StudyData) -> Iterator[_Row]:
    networks = {number.scoring: number.perceptual for number in result.numbers}
    for asked, estimate in data.alarms.get(result.key, {}).items():
        yield _Row(
            arm=result.arm,
            variant=result.variant,
            method=result.method,
            scoring=asked.scoring,
            perceptual=networks[asked.scoring],
            train_sites="+".join(result.train_sites),
            test_site=asked.site,
            anomaly="healthy",
            metric=f"false_alarm_rate_{asked.way}",
            estimate=estimate,
            seed=result.seed,
            remark=f"unit: {UNIT}; n counts patients",
        )


def _footing(data: StudyData) -> list[str]:
    """How the tables came about, for those who read them elsewhere."""
    evaluation = data.config.study.evaluation
    seeds = ", ".join(map(str, data.seeds))
    spent = sum(sum(result.seconds.values()) for result in data.results)
    return [
        f"Seeds: {seeds}. Cells: {len(data.results)} of {len(data.cells)}. Time of all "
        f"cells: {duration(spent)}{_lost(data)}, on {'; '.join(_machines(data)) or 'no machine yet'}.",
        f"Brackets hold {100 * evaluation.confidence:g} % intervals by bootstrap over patients ({evaluation.bootstrap} "
        "samples); numbers are averaged over seeds, whose spread is in no interval. The heads of the columns say how "
        "many images the numbers come from.",
    ]


def _lost(data: StudyData) -> str:
    """What the times don't hold."""
    resumed = sum(result.resumed for result in data.results)
    return f" ({counted(resumed, 'cell')} stopped on the way: of these, the last start alone)" if resumed else ""


def _metrics(data: StudyData) -> set[str]:
    return {row.metric for row in _rows(data)}


def _seconds(data: StudyData) -> dict[str, dict[str, float]]:
    """Seconds of training and of measuring by method, of all its cells."""
    found: dict[str, dict[str, float]] = {}
    for result in data.results:
        by_part = found.setdefault(result.method, {"cells": 0, "training": 0.0, "measuring": 0.0})
        by_part["cells"] += 1
        for part, seconds in result.seconds.items():
            by_part[part] = by_part.get(part, 0.0) + seconds
    return found


def _machines(data: StudyData) -> dict[str, int]:
    """Cells by the machine they ran on."""
    return _counted(", ".join(f"{name} {value}" for name, value in r.machine.items()) for r in data.results)


def _software(data: StudyData) -> dict[str, int]:
    """Cells by the software they ran with."""
    return _counted(", ".join(f"{name} {value}" for name, value in r.software.items()) for r in data.results)


def _counted(texts: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(texts).items()))


def _settings(data: StudyData) -> str:
    """The study's file, with the last part of each path alone: the page goes from hand to hand."""
    dumped: dict[str, Any] = data.config.model_dump(mode="json")
    for site in dumped["sites"]:
        site["config"] = PurePath(site["config"]).name
    return yaml.safe_dump(dumped, sort_keys=False, allow_unicode=True, width=110)
