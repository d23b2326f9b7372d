"""Figures for Prometheus, on loopback: who is online, where runs are, how long certificates last."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ra_core.daemons.supervisor import Supervisor
from ra_core.errors import ConfigError
from server.consortium import Consortium
from server.operation.keeper import Keeper
from server.provisioning.certificates import expiry
from server.story.standing import OUT, Phase, Standing, latest
from server.story.story import RunStory

__all__ = ["figures_served"]

STATES = ("running", "completed", "degraded", "failed", "stopped")

_DAY = dt.timedelta(days=1)


@contextlib.contextmanager
def figures_served(
    consortium: Consortium, keeper: Keeper, supervisor: Supervisor, programs: Sequence[str]
) -> Iterator[None]:
    """Within, http://127.0.0.1:PORT/metrics answers.

    Args:
        consortium: has the port and the certificates.
        keeper: has the figures of sites and runs.
        supervisor: knows the programs.
        programs: their names.

    Raises:
        ConfigError: the port is taken.
    """
    registry = CollectorRegistry()
    registry.register(_Figures(consortium, keeper, supervisor, programs))
    port = consortium.config.metrics
    try:
        server, thread = start_http_server(port, "127.0.0.1", registry)
    except OSError:
        raise ConfigError(
            f"{consortium.file}: metrics: port {port} is taken by another program", "give another one"
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Figures(Collector):
    def __init__(self, consortium: Consortium, keeper: Keeper, supervisor: Supervisor, programs: Sequence[str]) -> None:
        self.consortium, self.keeper, self.supervisor, self.programs = consortium, keeper, supervisor, programs

    def collect(self) -> Iterable[Metric]:
        """All figures, as they are now."""
        figures = self.keeper.figures
        restarts = CounterMetricFamily("ra_restarts", "Times that a process was started again.", labels=["process"])
        for name in self.programs:
            restarts.add_metric([name], self.supervisor.restarts(name))
        yield restarts
        yield _gauge(
            "ra_process_up", "Whether a process runs.", "process", {n: self.supervisor.up(n) for n in self.programs}
        )
        yield _gauge("ra_site_online", "Whether an admitted site is online.", "site", figures.online)
        ends = expiry(self.consortium)
        now = dt.datetime.now(dt.UTC)
        days = {name: (end - now) / _DAY for name, end in ends.items()}
        yield _gauge("ra_certificate_days_left", "Days until a certificate ends.", "certificate", days)
        yield from _of_runs(list(figures.stories.values()))


def _of_runs(stories: Sequence[RunStory]) -> Iterator[Metric]:
    state = GaugeMetricFamily("ra_run_state", "1 for the state that a run is in.", labels=["run", "state"])
    for story in stories:
        now = story.state if story.phase is Phase.ENDED else "running"
        for name in STATES:
            state.add_metric([story.name, name], float(name == now))
    yield state

    def by_run(name: str, text: str, value: Callable[[RunStory], float | None]) -> Metric:
        found = {story.name: value(story) for story in stories}
        return _gauge(name, text, "run", {run: figure for run, figure in found.items() if figure is not None})

    def standing(*kinds: Standing) -> Callable[[RunStory], float]:
        return lambda story: sum(site.standing in kinds for site in list(story.sites.values()))

    yield by_run("ra_run_rounds_done", "Rounds that a run has done.", lambda story: story.rounds_done)
    yield by_run("ra_run_rounds_asked", "Rounds that a run was asked for.", lambda story: story.rounds)
    yield by_run("ra_run_validation_error", "The last validation error over all sites.", lambda s: latest(s.validation))
    yield by_run("ra_run_answers", "Sites that have answered in the current round.", standing(Standing.ANSWERED))
    yield by_run("ra_run_troubled_sites", "Sites missing, refused or rejected in the current round.", standing(*OUT))
    yield by_run("ra_run_rejections", "Rounds of sites that were missing, refused or rejected.", _troubles)


def _troubles(story: RunStory) -> float:
    return sum(len(rounds) for rounds in list(story.troubles.values()))


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    gauge = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        gauge.add_metric([key], float(value))
    return gauge
