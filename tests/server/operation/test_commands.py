import json
import shutil
import subprocess

import pytest
from consortia import FakeFlower, admit, provisioned, tell
from hospitals import tiny_federation
from typer.testing import CliRunner

from ra_core.errors import AdmissionError, ConfigError, ConnectError, DegradedError, MaskingError, ResumeError
from server.cli import app
from server.operation import operate
from server.operation.run_record import End
from server.operation.runs import Run
from server.provisioning.registry import SiteRecord, save_site


@pytest.fixture
def consortium(tmp_path, monkeypatch):
    """A provisioned one in the current folder, with a study; two of its three sites are admitted."""
    monkeypatch.chdir(tmp_path)
    consortium = provisioned(tmp_path, sites=["anna", "berta", "carla"])
    admit(consortium, anna=1, berta=2)
    (tmp_path / "study.yaml").write_text(json.dumps(tiny_federation().model_dump(mode="json", exclude_defaults=True)))
    return consortium


@pytest.fixture
def flower(monkeypatch):
    """A daemon that is there; each run that is submitted ends as `end` says."""
    flower = FakeFlower()
    flower.end = End(state="completed")
    monkeypatch.setattr(operate, "running", lambda _: {"pid": 7})
    monkeypatch.setattr(operate, "control", lambda _: flower)

    def ended(run, *_):
        run.close(flower.end)
        return run.record().end

    monkeypatch.setattr(operate, "follow", ended)
    return flower


def invoke(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_without_a_daemon_nothing_is_run_or_stopped(consortium):
    Run(consortium, "study").agree(tiny_federation(), ["anna"])
    for command in (("run", "study.yaml", "--sites", "anna"), ("resume", "study"), ("stop", "study")):
        assert isinstance(invoke(*command).exception, ConnectError)


def test_a_run_is_named_after_its_study_and_has_the_sites_that_were_said(consortium, flower):
    assert invoke("run", "study.yaml", "--sites", "berta, anna").exit_code == 0
    assert Run(consortium, "study").record().sites == ("anna", "berta")
    assert isinstance(invoke("run", "study.yaml", "--sites", "anna").exception, ResumeError)
    assert invoke("run", "study.yaml", "--sites", "anna", "--name", "other").exit_code == 0
    assert len(flower.submitted) == 2


def test_a_run_is_not_stopped_within_a_masked_round_unasked(consortium, flower):
    """It could never be resumed: sites give figures under masks once."""
    run = Run(consortium, "study")
    run.agree(tiny_federation(), ["anna"])
    run.submit(flower, "asked")
    tell(run, "stage", round=2, stage="deal")
    assert run.masked_round() == 0
    for stage in ("mask", "confirm"):
        tell(run, "stage", round=2, stage=stage)
        found = invoke("stop", "study").exception
        assert isinstance(found, MaskingError)
        assert "round 2 of 'study' is under masks" in found.message
    assert flower.stopped == []
    assert run.record().end is None
    tell(run, "round_done", round=2)
    assert run.masked_round() == 0
    tell(run, "stage", round=3, stage="mask")
    assert invoke("stop", "study", "--despite-masks").exit_code == 0
    assert flower.stopped == [1]


def test_between_rounds_a_masked_run_is_stopped_as_any(consortium, flower):
    run = Run(consortium, "study")
    run.agree(tiny_federation(), ["anna"])
    run.submit(flower, "asked")
    tell(run, "stage", round=2, stage="mask")
    tell(run, "round_done", round=2)
    assert invoke("stop", "study").exit_code == 0
    assert flower.stopped == [1]


@pytest.mark.parametrize("sites", ["anna,nobody", "anna,anna"])
def test_strange_sites_are_refused(consortium, flower, sites):
    assert isinstance(invoke("run", "study.yaml", "--sites", sites).exception, ConfigError)
    assert flower.submitted == []


def test_all_sites_have_to_be_admitted(consortium, flower):
    found = invoke("run", "study.yaml").exception
    assert isinstance(found, AdmissionError)
    assert "the site 'carla' is invited" in found.message
    save_site(consortium, SiteRecord(name="anna", state="revoked", when="2026-01-02T03:04:05Z"))
    assert "the site 'anna' is revoked" in invoke("run", "study.yaml").exception.message


def test_what_has_ended_well_is_told_again_and_not_run_again(consortium, flower):
    for _ in range(2):
        found = invoke("run", "study.yaml", "--sites", "anna,berta")
        assert found.exit_code == 0
        assert "is completed" in found.stderr
    assert len(flower.submitted) == 1


def test_a_degraded_run_ends_with_its_own_error_and_is_started_again_for_its_model_alone(consortium, flower):
    flower.end = End(state="degraded", reasons=("round 1: berta: late",))
    arguments = ("run", "study.yaml", "--sites", "anna,berta")
    assert isinstance(invoke(*arguments).exception, DegradedError)
    assert isinstance(invoke(*arguments).exception, DegradedError)
    assert len(flower.submitted) == 1
    (Run(consortium, "study").folder / "run.json").write_text('{"undelivered": {"berta": "not connected"}}')
    invoke(*arguments)
    assert len(flower.submitted) == 2


@pytest.mark.parametrize("state", ["failed", "stopped"])
def test_what_has_failed_or_was_stopped_goes_on(consortium, flower, state):
    flower.end = End(state=state)
    invoke("run", "study.yaml", "--sites", "anna")
    flower.end = End(state="completed")
    assert invoke("resume", "study").exit_code == 0
    assert len(flower.submitted) == 2


def test_stop_ends_the_run_that_goes_on(consortium, flower):
    run = Run(consortium, "study")
    run.agree(tiny_federation(), ["anna"])
    run.submit(flower, "asked")
    assert "ra-server resume 'study'" in invoke("stop", "study").output
    assert flower.stopped == [1]


def test_runs_as_json(consortium):
    assert json.loads(invoke("runs", "--json").output) == []
    assert json.loads(invoke("status", "--json").output)["daemon"] is None


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit(consortium, tmp_path):
    unit = tmp_path / "ra-server.service"
    unit.write_text(invoke("unit", "--user", "daemon").output)
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)  # noqa: S603, S607
    assert done.returncode == 0, done.stderr
    assert "ra-server.service" not in done.stderr
    assert "User=daemon" in unit.read_text()
    assert f'start" "{consortium.file}"' in unit.read_text()
