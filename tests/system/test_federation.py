"""Three hospitals, their server and TLS between them: the model that comes out, and what a lost hospital costs."""

import csv
import signal

import pytest
from faulty import ANSWER, Faulty, simulated
from federation import wait_until
from hospitals import tiny_federation

from client.models import models
from ra_core.artifact import load_artifact
from ra_core.errors import ConfigError, DegradedError

NAMES = ("anna", "berta", "carla")
PATIENT = "Doe^Jane"
LOSSY = {"rounds": 4, "quorum": 0.6, "deadline_seconds": 600}


@pytest.fixture(scope="module")
def federation(site_root, tmp_path_factory):
    """Three sites online; all tests of this file share them, each has a run."""
    with Faulty(tmp_path_factory.mktemp("federation"), site_root, NAMES) as federation:
        federation.up("carla", "anna", "berta")
        yield federation


@pytest.fixture(scope="module")
def expected(site_root, tmp_path_factory):
    """Hashes of the best and of the last model of the simulation."""
    return simulated(tiny_federation(), site_root, tmp_path_factory.mktemp("simulated"), NAMES)


@pytest.fixture(scope="module")
def done(federation):
    """A run that nothing disturbs; what `run.json` says."""
    federation.study()
    federation.server("run", "study.yaml")
    return federation.result()


def stored(federation, name, model_hash):
    """The folder of a delivered model."""
    found = [one for one in models(federation.state(name)) if one.card and one.card.model_hash == model_hash]
    assert len(found) == 1, f"{name} lacks {model_hash}"
    assert f"{model_hash[:16]}  received" in federation.client("models", federation.config(name))
    return found[0].folder


def test_the_model_is_the_simulations(federation, done, expected):
    assert federation.hashes("study") == expected


def test_every_site_has_the_model_and_the_record_says_so(federation, done):
    assert (done["state"], done["code"], done["reasons"]) == ("completed", 0, [])
    assert (done["rounds_done"], done["rounds_asked"]) == (2, 2)
    assert [(one["round"], one["closing"]) for one in done["rounds"]] == [(1, False), (2, False), (3, True)]
    assert all(one["asked"] == one["answered"] == list(NAMES) for one in done["rounds"])
    # Hospitals have 12, 11 and 10 training images of 29, 28 and 27.
    assert [one["n_images"] for one in done["rounds"]] == [33, 33, 0]
    assert done["images"]["carla"] == {"train": 10, "val": 5, "used": 27, "declared": 27}
    assert (done["delivered"], done["undelivered"]) == (list(NAMES), {})
    for name in NAMES:
        stored(federation, name, done["model_hash"])


def test_a_site_scores_with_the_delivered_model(federation, done, site_root, weights_file):
    model = stored(federation, "anna", done["model_hash"])
    options = ("--model", model, "--weights", weights_file, "--threads", "1", "--out", federation.folder / "scores")
    federation.client("score", *options, site_root / "test_anomalous_0.png")
    with (federation.folder / "scores" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["score"]) > 0


@pytest.mark.night
def test_sites_may_come_late_and_in_another_order(federation, done, expected):
    for name in NAMES:
        federation.kill(name, signal.SIGTERM)
    run = federation.command("run", "study.yaml", "--name", "late")
    federation.await_event("waiting", "late")
    order = ["berta", "carla", "anna"]
    for count, name in enumerate(order, 1):
        federation.start_site(name)
        federation.await_event("joined", "late", count)
    federation.finish(run)
    assert [event["site"] for event in federation.events("late", "joined")] == order
    assert federation.hashes("late") == expected


@pytest.mark.night
def test_what_fails_in_flower_itself_leaves_a_site_by_kind_alone(federation):
    fault = federation.fault("carla", "flwr.supernode.runtime.run_clientapp:install_from_fab", "raise", text=PATIENT)
    federation.study("texts", quorum=0.6)
    said = federation.server("run", "texts.yaml", code=DegradedError.exit_code)
    fault.unlink()
    assert "reports OSError" in said
    assert PATIENT in (federation.state("carla") / "flower" / "supernode.log").read_text()
    files = [path for path in federation.server_folder.rglob("*") if path.is_file()]
    assert [path for path in files if PATIENT.encode() in path.read_bytes()] == []
    assert PATIENT not in said + federation.log("server")


@pytest.mark.night
def test_a_lost_site_costs_its_own_rounds_alone_and_gets_the_model_on_return(federation):
    """berta is killed in round 2, and back before round 4; carla leaves before the delivery."""
    federation.study("lossy", **LOSSY)
    with federation.held("anna", ANSWER, after=4) as anna_closes:
        with federation.held("carla", after=2) as carla_is_in_round_3:
            with federation.held("berta", after=1) as berta_is_in_round_2:
                run = federation.command("run", "lossy.yaml")
                berta_is_in_round_2()
                federation.kill_site("berta")
            carla_is_in_round_3()
            federation.bring_back("berta")
        anna_closes()
        wait_until(lambda: ("carla", 5) in answered(federation), "carla has closed")
        federation.kill("carla", signal.SIGTERM)
    said = federation.finish(run, DegradedError.exit_code)
    assert "round 3 is done: 2 answered, missing: berta (not connected)" in said

    result = federation.result("lossy")
    lost, away = (one["missing"].pop("berta") for one in result["rounds"][1:3])
    assert "Node Unavailable" in lost
    assert away == "not connected"
    assert [one["missing"] for one in result["rounds"]] == [{}] * 5
    assert [one["asked"] for one in result["rounds"]] == [list(NAMES)] * 2 + [["anna", "carla"]] + [list(NAMES)] * 2
    reasons = [f"round 2: berta: {lost}", "round 3: berta: not connected", "delivery: carla: not connected"]
    assert (result["state"], result["reasons"]) == ("degraded", reasons)
    # After the join nobody was waited for: the rounds after the loss had their quorum at once.
    assert len(federation.events("lossy", "waiting")) == 1
    assert result["delivered"] == ["anna", "berta"]

    federation.start_site("carla")
    federation.await_online("carla")
    assert "carla has the model" in federation.server("resume", "lossy", code=DegradedError.exit_code)
    assert federation.result("lossy")["reasons"] == reasons[:2]
    for name in NAMES:
        stored(federation, name, result["model_hash"])


@pytest.mark.night
def test_a_site_withdraws_and_the_study_is_trained_again_without_it(federation, done):
    """The last one of this file: berta's key is out for good, and its daemon is told so each time that it tries."""
    said = federation.server("withdraw", "berta", "--retrain", "study")
    assert "'study': answers of berta are in round 1–3" in said  # the closing exchange is one
    model = federation.run() / "model"
    assert load_artifact(model).card.withdrawn == ("berta",)
    publish = ("publish", "study", "--out", federation.folder / "study.ra")
    assert "berta" in federation.server(*publish, code=ConfigError.exit_code)
    wait_until(lambda: "is not admitted, or was revoked" in federation.log("berta"), "berta sees that it is out")
    assert "berta" not in federation.online()

    again = federation.result("study-without-berta")
    assert (again["state"], again["delivered"]) == ("completed", ["anna", "carla"])
    assert all(one["asked"] == one["answered"] == ["anna", "carla"] for one in again["rounds"])
    assert again["model_hash"] != done["model_hash"]
    assert "validation error of the model of 'study' -> that of 'study-without-berta'" in said
    for name in ("anna", "carla"):
        stored(federation, name, again["model_hash"])


def answered(federation):
    return [(event["site"], event["round"]) for event in federation.events("lossy", "answered")]
