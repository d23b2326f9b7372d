import datetime as dt
import json

import pytest
from calibrations import calibration
from consortia import FakeFlower, admit, provisioned, tell
from rich.console import Console

from ra_core.config import StudyConfig
from ra_core.errors import FlowerError
from ra_core.thresholds.told import told_of_metric
from server.flower import NodeState
from server.operation import status as module
from server.operation.run_record import End
from server.operation.runs import Run
from server.operation.status import runs_of, runs_table, status_lines, status_of
from server.provisioning.registry import SiteRecord, save_site


@pytest.fixture
def consortium(tmp_path):
    consortium = provisioned(tmp_path)
    admit(consortium, anna=1)
    return consortium


def serve(monkeypatch, flower):
    monkeypatch.setattr(module, "running", lambda _: {"pid": 7, "started": "2026-01-02T03:04:05Z"})
    monkeypatch.setattr(module, "serving", lambda _: True)
    monkeypatch.setattr(module, "control", lambda _: flower)


class Nodes(FakeFlower):
    def __init__(self, *nodes):
        super().__init__()
        self.known = nodes

    def nodes(self):
        return list(self.known)


def test_without_a_daemon_what_files_tell_is_told(consortium):
    found = status_of(consortium)
    assert found["daemon"] is None
    assert found["serving"] == {"superlink": False, "executor": False}
    assert [(site["name"], site["state"], site["online"]) for site in found["sites"]] == [
        ("anna", "admitted", None),
        ("berta", "invited", None),
    ]
    assert "daemon: does not run; `ra-server start` starts it" in list(status_lines(found))


def test_sites_are_told_apart_by_where_they_are(consortium, monkeypatch):
    admit(consortium, berta=2, dora=4)
    save_site(consortium, SiteRecord(name="emil", state="revoked", when="2026-01-02T03:04:05Z"))
    serve(
        monkeypatch,
        Nodes(
            NodeState("1", "online", "2026-01-02 03:04:05Z", "N/A"),
            NodeState("2", "offline", "2026-01-02 03:04:05Z", "2026-01-02 05:00:00Z"),
            NodeState("4", "registered", "N/A", "N/A"),
        ),
    )
    lines = list(status_lines(status_of(consortium)))
    assert "site anna: admitted, online since 2026-01-02 03:04:05Z" in lines
    assert "site berta: admitted, offline since 2026-01-02 05:00:00Z" in lines
    assert "site dora: admitted, was never here" in lines
    assert "site emil: revoked" in lines


def test_a_superlink_that_answers_nothing_is_a_trouble_and_no_end(consortium, monkeypatch):
    class Broken(FakeFlower):
        def nodes(self):
            raise FlowerError("`flwr supernode` failed: no")

    serve(monkeypatch, Broken())
    found = status_of(consortium)
    assert found["trouble"] == "`flwr supernode` failed: no"
    assert "trouble: `flwr supernode` failed: no" in list(status_lines(found))


@pytest.mark.parametrize(("ago", "told"), [(5, "starts"), (90, "does not answer; the daemon restarts it")])
def test_what_does_not_answer_yet_is_no_fault(consortium, monkeypatch, ago, told):
    started = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    monkeypatch.setattr(module, "running", lambda _: {"pid": 7, "started": started})
    monkeypatch.setattr(module, "serving", lambda _: False)
    lines = list(status_lines(status_of(consortium)))
    assert f"superlink: {told}" in lines
    assert "superlink: serves" not in lines


def test_certificates_that_end_soon_are_named(tmp_path):
    consortium = provisioned(tmp_path, certificate_days=20)
    assert any(line.startswith("certificate: server.crt expires on") for line in status_lines(status_of(consortium)))


def test_runs_by_state(consortium):
    study = StudyConfig.model_validate({"federation": {"rounds": 3}})
    for name in ("idle", "going", "ended"):
        Run(consortium, name).agree(study, ["anna"])
    flower = FakeFlower()
    going, ended = Run(consortium, "going"), Run(consortium, "ended")
    going.submit(flower, "asked")
    tell(going, "run_started", rounds=3, sites=["anna"], from_round=0)
    tell(going, "round_done", round=1, validation_error=0.25)
    ended.submit(flower, "asked")
    result = '{"rounds_done": 3, "rounds_asked": 3, "undelivered": {"berta": "not connected"}}'
    (ended.folder / "run.json").write_text(result)
    ended.close(End(state="degraded", reasons=("round 2: berta: late",), kind="DegradedError"))
    found = {run["name"]: run for run in runs_of(consortium)}
    assert {name: run["state"] for name, run in found.items()} == {
        "idle": "not begun",
        "going": "running",
        "ended": "degraded",
    }
    assert found["going"]["validation_error"] == 0.25
    assert found["ended"]["undelivered"] == ["berta"]
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(runs_table(list(found.values())))
    said = console.export_text()
    assert "round 2: berta: late" in said
    assert "3/3" in said


def test_how_a_run_was_calibrated_is_a_line(consortium):
    run = Run(consortium, "study")
    run.agree(StudyConfig(), ["anna"])
    assert not any(line.startswith("run study") for line in status_lines(status_of(consortium)))
    tell(run, "calibrated", rate=0.05, achieved={"anna": "1 of 40 above"}, absent={})
    assert "run study: calibrated at 5 % false alarms: anna 1 of 40 above" in list(status_lines(status_of(consortium)))


def test_accuracy_over_all_sites_is_a_line_where_sites_have_told_what_it_takes(consortium):
    run = Run(consortium, "study")
    run.agree(StudyConfig(), ["anna"])
    tell(run, "calibrated", rate=0.05, achieved={"anna": "1 of 40 above"}, absent={})

    def said_of(found):
        (run.folder / "run.json").write_text(json.dumps({"calibration": found.model_dump(mode="json")}))
        return [line for line in status_lines(status_of(consortium)) if line.startswith("run study: AUROC")]

    found = calibration({"anna": (40, 1, 30)})
    assert said_of(found) == [f"run study: {told_of_metric(found, 'auroc')}"]
    assert "40 healthy and 30 anomalous patients" in said_of(found)[0]
    assert said_of(calibration({}, {"anna": "not connected"})) == []


def test_a_damaged_record_is_a_line_and_no_end(consortium):
    run = Run(consortium, "study")
    run.agree(StudyConfig(), ["anna"])
    (run.folder / "flower.json").write_text("{")
    found = status_of(consortium)["runs"]
    assert [(run["name"], run["state"]) for run in found] == [("study", "damaged")]


def test_a_submission_is_told_in_utc(consortium):
    run = Run(consortium, "study")
    run.agree(StudyConfig(), ["anna"])
    run.submit(FakeFlower(), "asked")
    assert dt.datetime.fromisoformat(runs_of(consortium)[0]["submitted"]).tzinfo is not None
