import socket
import urllib.request
from types import SimpleNamespace

import pytest
from consortia import admit, provisioned
from prometheus_client.parser import text_string_to_metric_families

from ra_core.errors import ConfigError
from server.operation.keeper import Figures
from server.operation.metrics import figures_served
from server.story.story import RunStory

SUPERVISOR = SimpleNamespace(up=lambda name: name == "superlink", restarts=lambda name: 3)
EVENTS = (
    {"event": "run_started", "sites": ["anna", "berta"], "rounds": 4, "from_round": 0},
    {"event": "round_started", "round": 1, "asked": ["anna", "berta"]},
    {"event": "answered", "round": 1, "site": "anna", "metrics": {"validation_error": 0.5}},
    {"event": "rejected", "round": 1, "site": "berta", "reason": "NaN"},
    {"event": "round_done", "round": 1, "answered": ["anna"], "missing": {"berta": "NaN"}, "validation_error": 0.5},
)


@pytest.fixture(scope="module")
def consortium(tmp_path_factory):
    consortium = provisioned(tmp_path_factory.mktemp("metrics"))
    admit(consortium, anna=1)
    return consortium


def story(name, *events):
    told = RunStory(name)
    for event in events:
        told.take({"time": "2026-01-02T03:04:05Z"} | event)
    return told


def scraped(consortium, figures):
    """All samples, by name and labels."""
    keeper = SimpleNamespace(figures=figures)
    with figures_served(consortium, keeper, SUPERVISOR, ("superlink", "executor")):
        url = f"http://127.0.0.1:{consortium.config.metrics}/metrics"
        with urllib.request.urlopen(url) as answer:
            text = answer.read().decode()
    families = text_string_to_metric_families(text)
    return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}


def test_sites_processes_and_certificates(consortium):
    found = scraped(consortium, Figures({"anna": True, "berta": False}, {}))
    assert (found["ra_site_online", "anna"], found["ra_site_online", "berta"]) == (1, 0)
    assert (found["ra_process_up", "superlink"], found["ra_process_up", "executor"]) == (1, 0)
    assert found["ra_restarts_total", "executor"] == 3
    assert 363 < found["ra_certificate_days_left", "server.crt"] < 366 < found["ra_certificate_days_left", "ca.crt"]


def test_runs(consortium):
    ended = story("old", *EVENTS, {"event": "run_ended", "state": "degraded"})
    found = scraped(consortium, Figures({}, {"new": story("new", *EVENTS), "old": ended, "none": story("none")}))
    assert (found["ra_run_state", "new", "running"], found["ra_run_state", "degraded", "new"]) == (1, 0)
    assert (found["ra_run_state", "old", "running"], found["ra_run_state", "degraded", "old"]) == (0, 1)
    assert (found["ra_run_rounds_done", "new"], found["ra_run_rounds_asked", "new"]) == (1, 4)
    assert found["ra_run_validation_error", "new"] == 0.5
    assert ("ra_run_validation_error", "none") not in found
    assert (found["ra_run_answers", "new"], found["ra_run_troubled_sites", "new"]) == (1, 1)
    assert found["ra_run_rejections", "new"] == 1


def test_a_port_of_others_is_named(consortium):
    with socket.create_server(("127.0.0.1", consortium.config.metrics)), pytest.raises(ConfigError, match="metrics"):
        scraped(consortium, Figures())
