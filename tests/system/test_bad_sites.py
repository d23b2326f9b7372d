"""One site of three answers badly in every way, over real processes: it is named, nothing leaks, the rest goes on."""

import re
import urllib.request
from typing import ClassVar

import numpy as np
import pytest
from faulty import Answering
from hospitals import tiny_federation

from ra_core.config import RuntimeConfig
from ra_core.errors import DegradedError, QuorumError
from ra_core.hashing import array_digest
from simulation.engines import run_in_process

pytestmark = pytest.mark.night

PATIENT = "Zwetschge^Roswitha"

BAD = [
    ("nan", "not int32"),
    ("shape", "has shape"),
    ("broadcast", r"has shape \(1,\)"),
    ("large", r"norm is [\d.e+]+, more than 2$"),
    ("count:n_images=0", "counts can't be true"),
    ("count:n_images=-5", "counts can't be true"),
    ("count:n_images=1000000000", "counts can't be true"),
    ("tensor", "arrays differ"),
    ("field:n_patients", "'facts' has other fields"),
    (f"raise:{PATIENT}", "^reports PermissionError$"),
]
"""What the site does, round by round, and why its answer doesn't count."""

CLOSING, DELIVERY = ("error:nan", "a metric is not finite"), (f"raise:{PATIENT}", "^reports PermissionError$")

ANSWERS = {f"bad {number}": answer for number, (answer, _) in enumerate(BAD, start=1)} | {
    "bad closing": CLOSING[0],
    "bad deliver": DELIVERY[0],
    "shut join": f"raise:{PATIENT}",
}
FEDERATION = {"rounds": len(BAD), "quorum": 0.6, "max_update_norm": 2.0}


class Misbehaving(Answering):
    """A federation in which berta answers badly."""

    answers: ClassVar = {"berta": ANSWERS}


@pytest.fixture(scope="module")
def federation(site_root, tmp_path_factory):
    with Misbehaving(tmp_path_factory.mktemp("bad"), site_root, ("anna", "berta", "carla")) as federation:
        yield federation.up()


@pytest.fixture(scope="module")
def done(federation):
    """What the operator saw of the run, and what `run.json` said at its end: the model is offered to berta again."""
    said = federation.server("run", federation.study("bad", **FEDERATION), code=DegradedError.exit_code)
    return said, federation.result("bad")


def test_each_bad_answer_is_rejected_by_name_and_reason(federation, done):
    said, result = done
    *rounds, closing = result["rounds"]
    for record, (_, reason) in zip([*rounds, closing], [*BAD, CLOSING], strict=True):
        assert record["asked"] == ["anna", "berta", "carla"]
        assert record["answered"] == ["anna", "carla"]
        assert list(record["missing"]) == ["berta"]
        assert re.search(reason, record["missing"]["berta"])
        assert f"berta was rejected: {record['missing']['berta']}" in said
    rejected = [(event["round"], event["site"]) for event in federation.events("bad", "rejected")]
    assert rejected == [(number, "berta") for number in range(1, len(BAD) + 2)]
    assert "the run 'bad' is degraded: round 1: berta: " in said


def test_a_site_that_fails_to_store_the_model_is_named(done):
    result = done[1]
    assert result["delivered"] == ["anna", "carla"]
    assert list(result["undelivered"]) == ["berta"]
    assert re.search(DELIVERY[1], result["undelivered"]["berta"])
    assert result["reasons"][-1] == f"delivery: berta: {result['undelivered']['berta']}"


def test_the_model_is_finite_and_what_comes_without_the_site(federation, done, tmp_path):
    nodes = [federation.nodes[name] for name in ("anna", "carla")]
    study = tiny_federation(**FEDERATION)
    without = run_in_process(study, nodes, RuntimeConfig(threads=1), tmp_path, lambda done, total: None)
    assert all(np.isfinite(array).all() for array in without.model.values())
    result = done[1]
    assert result["last_model_hash"] == array_digest(without.model)
    assert result["model_hash"] == array_digest(without.best)
    assert [record["validation_error"] for record in result["rounds"]] == [
        record.validation_error for record in without.records
    ]


def test_a_site_that_fails_before_the_first_round_ends_the_run_at_once(federation):
    said = federation.server("run", federation.study("shut"), code=QuorumError.exit_code)
    assert "2 of 3 sites joined, 3 are needed (berta: reports PermissionError)" in said
    assert PATIENT not in said


def test_no_patient_gets_out_of_the_site(federation, done):
    state = federation.state("berta")
    own = (state / "flower" / "supernode.log").read_bytes()
    assert own.count(PATIENT.encode()) >= 2  # the faults have happened, and people at the site can read of them
    port = federation.consortium.config.metrics
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        got_out = {"figures": answer.read()}
    got_out |= {"run": done[0].encode(), "runs": federation.server("runs", "--json").encode()}
    got_out |= {"status": federation.server("status").encode()}
    got_out |= {str(path): path.read_bytes() for path in federation.server_folder.rglob("*") if path.is_file()}
    got_out |= {path.name: path.read_bytes() for path in federation.folder.glob("*.log")}
    got_out |= {"the site's events": (state / "daemon.jsonl").read_bytes()}
    assert any(name.endswith("state.db") for name in got_out)
    for words in (PATIENT, "/images/"):
        assert [name for name, content in got_out.items() if words.encode() in content] == []
