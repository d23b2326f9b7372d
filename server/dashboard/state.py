"""All that the page shows, made from what was told and the time alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from server.dashboard.calibration import CalibrationView, calibration_view
from server.dashboard.chart import Chart, chart
from server.dashboard.lines import RunLine, SiteLine, Trouble, run_line, site_line, troubles
from server.dashboard.processes import ProcessStory
from server.dashboard.run_verdict import Verdict
from server.dashboard.timing import late
from server.dashboard.told import Told
from server.dashboard.verdict import verdicts
from server.story.story import RunStory

__all__ = ["Page", "latest_first", "page"]

MOST_LINES = 50
"""Runs and troubles that are shown, the latest."""


@dataclass(frozen=True)
class Page:
    """What is shown, from top to bottom."""

    title: str
    now: datetime
    verdict: Verdict
    notes: tuple[Verdict, ...]
    sites: tuple[SiteLine, ...]
    run: RunLine | None
    charts: tuple[Chart, ...]
    calibration: CalibrationView | None
    troubles: tuple[Trouble, ...]
    runs: tuple[RunLine, ...]
    processes: tuple[tuple[str, ProcessStory], ...]
    deeds: tuple[tuple[datetime | None, str], ...]
    certificates: tuple[tuple[str, datetime], ...]


def page(told: Told, now: datetime) -> Page:
    """The page as it is now; whatever was told, this doesn't fail."""
    runs = latest_first(told.runs)
    run = runs[0] if runs else None
    slow = late(run, now) if run else []
    names = sorted({*told.registry, *(run.sites if run else ())})
    first, *notes = verdicts(told, runs, now)
    return Page(
        title=told.title,
        now=now,
        verdict=first,
        notes=tuple(notes),
        sites=tuple(
            site_line(name, told.registry.get(name, ""), told.online.get(name), run, slow, now) for name in names
        ),
        run=run_line(run, now) if run else None,
        charts=_charts(run) if run else (),
        calibration=calibration_view(told.calibration) if told.calibration else None,
        troubles=tuple(troubles(run)[:MOST_LINES]) if run else (),
        runs=tuple(run_line(one, now) for one in runs[:MOST_LINES]),
        processes=tuple(sorted(told.daemon.processes.items())) if told.running else (),
        deeds=tuple(reversed(told.daemon.deeds)),
        certificates=tuple(told.certificates.items()),
    )


def latest_first(runs: Iterable[RunStory]) -> list[RunStory]:
    """The first of them is the one that the page is about."""
    return sorted(runs, key=_age, reverse=True)


def _age(run: RunStory) -> tuple[str, str]:
    """The latest start sorts last; of a run that has not begun, the last that was heard of it counts."""
    moment = run.started or run.heard
    return moment.isoformat() if moment else "", run.name


def _charts(run: RunStory) -> tuple[Chart, ...]:
    sites = sorted(run.sites.items())
    validation = {"all sites": run.validation} | {name: site.validation for name, site in sites}
    training: dict[str, dict[int, float]] = {"all sites": {}} | {name: site.training for name, site in sites}
    drawn = (
        chart("Error on healthy validation images", "rounds behind the model", "error", validation),
        chart("Error in training", "round", "error", training),
    )
    return tuple(one for one in drawn if one)
