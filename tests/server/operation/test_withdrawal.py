"""A site withdraws: it is out, what has a part of it is marked and stays here, and the others can train again."""

import json
from pathlib import Path

import pytest
from answering import answering_app, good_reply
from consortia import FakeFlower, admit, provisioned
from filelock import FileLock
from flwr.app import Context, RecordDict
from hospitals import tiny_federation
from typer.testing import CliRunner

from ra_core.artifact import load_artifact
from ra_core.config import StudyConfig
from ra_core.errors import AdmissionError, ConfigError, FlowerError, ResumeError
from ra_core.settings import load_config
from server.app import app as server_app
from server.cli import app
from server.flower import NodeState, RunState
from server.operation import operate, withdrawal
from server.operation.run_record import End
from server.operation.runs import Run
from server.operation.status import runs_of
from server.provisioning import admission
from server.provisioning.publish import publish
from server.provisioning.registry import load_site
from simulation.engines import InProcessGrid

pytestmark = pytest.mark.slow

NODES = {"anna": 1, "berta": 2, "clara": 3}


class Superlink(FakeFlower):
    """Runs the server's app at once, with sites that answer; `behaviour` is of those that answer otherwise."""

    def __init__(self):
        super().__init__()
        self.shut_out, self.behaviour = set(), {}

    def nodes(self):
        self._reach()
        status = {node: "unregistered" if node in self.shut_out else "online" for node in NODES.values()}
        return [NodeState(str(node), state, "2026-01-02 03:04:05Z", "N/A") for node, state in status.items()]

    def unregister(self, node):
        self._reach()
        self.shut_out.add(node)

    def submit(self, folder, settings):
        number = super().submit(folder, settings)
        sites = settings["sites"].split(",")
        grid = InProcessGrid(answering_app(self.behaviour), [{"name": site} for site in sites])
        server_app(grid=grid, context=Context(1, 1, {}, RecordDict(), settings | {"nodes": ""}))
        return number


@pytest.fixture
def consortium(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    consortium = provisioned(tmp_path, sites=list(NODES))
    admit(consortium, **NODES)
    Path("study.yaml").write_text(json.dumps(tiny_federation().model_dump(mode="json", exclude_defaults=True)))
    return consortium


@pytest.fixture(autouse=True)
def flower(monkeypatch):
    flower = Superlink()
    for module in (operate, admission):
        monkeypatch.setattr(module, "running", lambda _: {"pid": 7})
        monkeypatch.setattr(module, "control", lambda _: flower)
    monkeypatch.setattr(admission, "serving", lambda _: True)

    def ended(run, *_):
        run.close(End(state=run.result()["state"]))
        return run.record().end

    monkeypatch.setattr(operate, "follow", ended)
    return flower


def invoke(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def told(*arguments):
    done = invoke(*arguments)
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.stdout


@pytest.fixture
def trained(consortium):
    """A run of all sites that has ended."""
    told("run", "study.yaml")
    return Run(consortium, "study")


def test_the_site_is_out_and_its_withdrawal_is_noted(consortium, flower, trained):
    said = told("withdraw", "berta")
    assert "revoked berta" in said
    record = load_site(consortium, "berta")
    assert (record.state, [key.why for key in record.former]) == ("revoked", ["revoked"])
    assert record.withdrawn == record.when
    assert flower.shut_out == {2}
    assert load_site(consortium, "anna").withdrawn == ""


def test_a_model_with_a_part_of_it_is_marked_and_not_published(consortium, trained, tmp_path):
    before = load_artifact(trained.folder / "model")
    publish(consortium, "study", tmp_path / "early.safetensors")
    said = told("withdraw", "berta")
    card = load_artifact(trained.folder / "model").card
    assert card == before.card.model_copy(update={"withdrawn": ("berta",)})
    for words in (
        "answers of berta are in round 1–3",
        f"{card.model_hash[:16]} is marked",
        "delivered to anna, berta and clara",
        "as early.safetensors",
        "not undone: models that were delivered, published files",
    ):
        assert words in said
    with pytest.raises(ConfigError, match="berta withdrew from the model of 'study'"):
        publish(consortium, "study", tmp_path / "late.safetensors")
    assert not (tmp_path / "late.safetensors").exists()
    said = told("publish", "study", "--out", "late.safetensors", "--despite-withdrawal")
    assert "berta withdrew from it: its card says so" in said
    assert (tmp_path / "late.safetensors").exists()


def test_a_run_with_a_part_of_it_is_not_started_again(consortium, flower, trained):
    told("withdraw", "berta")
    trained.folder.joinpath("run.json").write_text(json.dumps(trained.result() | {"undelivered": {"clara": "away"}}))
    for arguments in (("run", "study.yaml", "--sites", "anna"), ("resume", "study")):
        assert isinstance(invoke(*arguments).exception, ResumeError)
    with pytest.raises(ResumeError, match="berta withdrew from the run 'study'"):
        trained.submit(flower, "delivery")
    assert len(flower.submitted) == 1
    (listed,) = runs_of(consortium)
    assert listed["withdrawn"] == ["berta"]
    assert "withdrawn" in told("runs")


def test_a_run_without_a_part_of_it_stays_as_it_is(consortium, trained, tmp_path):
    told("run", "study.yaml", "--name", "others", "--sites", "anna,clara")
    others = Run(consortium, "others")
    before = {path: path.read_bytes() for path in others.folder.rglob("*") if path.is_file()}
    assert "others" not in told("withdraw", "berta")
    assert {path: path.read_bytes() for path in others.folder.rglob("*") if path.is_file()} == before
    publish(consortium, "others", tmp_path / "file")


def test_a_run_that_goes_on_is_stopped_first(consortium, flower):
    flower.behaviour = {"berta": lambda site, order: good_reply(site, order, n_images=0)}
    run = Run(consortium, "study")
    run.agree(tiny_federation(quorum=0.5), list(NODES))
    run.submit(flower, "asked")
    said = told("withdraw", "berta")
    assert flower.stopped == [1]
    assert run.record().end.state == "stopped"
    assert run.record().withdrawn == {}  # all its answers were rejected
    assert "no answer of berta is in it; `ra-server resume 'study'` goes on without" in said


def killed_before_the_record(run, rounds):
    """As where the app was killed once a checkpoint was safe, and before run.json was written anew."""
    older = run.result()
    run.folder.joinpath("run.json").write_text(json.dumps(older | {"state": "running", "rounds": rounds}))


@pytest.mark.parametrize("known", [0, 1])
def test_a_round_that_only_the_checkpoint_has_is_found(consortium, trained, known):
    killed_before_the_record(trained, trained.result()["rounds"][:known])
    assert "answers of berta are in round 1–3" in told("withdraw", "berta")
    assert "berta" in trained.record().withdrawn


def test_where_the_checkpoints_are_damaged_too_it_is_said_that_nobody_knows(consortium, trained):
    killed_before_the_record(trained, [])
    for path in trained.folder.glob("checkpoint*"):
        path.write_bytes(b"damaged")
    done = invoke("withdraw", "berta")
    assert isinstance(done.exception, ResumeError)
    assert load_site(consortium, "berta").state == "revoked"


def test_an_app_that_does_not_end_is_told_and_everything_else_is_done(consortium, flower, trained, monkeypatch):
    monkeypatch.setattr(withdrawal, "STOP_SECONDS", 0.1)
    told("run", "study.yaml", "--name", "another")
    with FileLock(Run(consortium, "another").folder / ".app.lock"):
        done = invoke("withdraw", "berta")
    assert isinstance(done.exception, FlowerError)
    assert "'another' doesn't end" in done.exception.message
    assert "berta" in trained.record().withdrawn
    told("withdraw", "berta")
    assert "berta" in Run(consortium, "another").record().withdrawn


def test_again_it_changes_nothing(consortium, flower, trained):
    told("withdraw", "berta")
    before = {path: path.read_bytes() for path in consortium.folder.rglob("*.json") if path.is_file()}
    told("withdraw", "berta")
    assert {path: path.read_bytes() for path in consortium.folder.rglob("*.json") if path.is_file()} == before


def test_one_more_site_withdraws(consortium, trained):
    told("withdraw", "berta")
    told("withdraw", "anna")
    assert list(trained.record().withdrawn) == ["anna", "berta"]
    assert load_artifact(trained.folder / "model").card.withdrawn == ("anna", "berta")


def test_the_others_train_again_and_the_change_is_told(consortium, flower, trained):
    said = told("withdraw", "berta", "--retrain", "study")
    new = Run(consortium, "study-without-berta")
    assert new.record().sites == ("anna", "clara")
    assert new.record().end.state == "completed"
    card = load_artifact(new.folder / "model").card
    assert (card.sites, card.withdrawn) == (("anna", "clara"), ())
    # Errors are 1 / round + 0.01 x place of the site, and the last round was chosen in both.
    assert "  anna: 0.33333 -> 0.33333 (+0.0 %)" in said
    assert "  clara: 0.35333 -> 0.35333" in said
    assert "berta:" not in said.partition("validation error")[2]
    mean = (5 * 0.33333 + 7 * 0.35333) / 12
    assert f"  mean of these: {mean:.5f} -> {mean:.5f}" in said
    assert "says nothing of what is found" in said
    told("withdraw", "berta", "--retrain", "study")
    assert len(flower.submitted) == 2  # it had ended


def test_the_study_is_the_same_but_for_a_seed_that_says_who_is_missing(consortium, trained):
    told("withdraw", "berta")
    old = load_config(trained.study_file, StudyConfig)
    study, sites = withdrawal.study_without(trained, "anew")
    assert sites == ["anna", "clara"]
    assert study.seed != old.seed
    assert study.model_copy(update={"seed": old.seed}) == old
    assert withdrawal.study_without(trained, "anew")[0] == study
    assert withdrawal.study_without(trained, "lost and made again")[0].seed not in (study.seed, old.seed)
    told("withdraw", "clara")
    assert withdrawal.study_without(trained, "anew")[0].seed not in (study.seed, old.seed)


def test_what_no_site_has_told_is_not_made_up(consortium, flower):
    flower.behaviour = dict.fromkeys(NODES, lambda site, order: good_reply(site, order, metrics={}))
    told("run", "study.yaml")
    assert "not known: no site's policy lets it out" in told("withdraw", "berta", "--retrain", "study")


def test_what_makes_no_sense_is_refused(consortium, trained):
    assert isinstance(invoke("withdraw", "zoe").exception, AdmissionError)
    assert isinstance(invoke("withdraw", "berta", "--name", "x").exception, ConfigError)
    assert load_site(consortium, "berta").state == "admitted"
    told("run", "study.yaml", "--name", "others", "--sites", "anna,clara")
    assert "nobody" not in told("withdraw", "berta")
    for run, reason in (("others", "no site has withdrawn"), ("none", "there is no run")):
        found = invoke("withdraw", "berta", "--retrain", run).exception
        assert isinstance(found, ConfigError)
        assert reason in found.message
    told("withdraw", "anna")
    told("withdraw", "clara")
    assert "all sites have withdrawn" in invoke("withdraw", "clara", "--retrain", "study").exception.message


def test_where_the_superlink_is_away_the_site_is_out_and_the_rest_is_left_to_do(consortium, flower, trained):
    flower.reachable = False
    assert isinstance(invoke("withdraw", "berta").exception, FlowerError)
    assert load_site(consortium, "berta").state == "revoked"
    flower.reachable = True
    told("withdraw", "berta")
    assert "berta" in trained.record().withdrawn


def test_the_status_of_flower_decides_nothing_here(consortium, flower, trained):
    flower.state = RunState("finished:failed", "", "")
    told("withdraw", "berta")
    assert flower.stopped == []
