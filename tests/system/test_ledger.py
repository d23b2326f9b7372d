"""A hospital's policy and ledger in a real federation: what leaves is in the ledger, and what stays is told."""

import shutil

import pytest
from federation import Federation

from ra_core.errors import LedgerError, QuorumError

FEDERATION = {"join_seconds": 120.0}


@pytest.fixture(scope="module")
def federation(site_root, tmp_path_factory):
    with Federation(tmp_path_factory.mktemp("ledger"), site_root) as federation:
        federation.change_site("anna", policy={"metrics": ["validation_error"], "clip_update_norm": 0.01})
        yield federation.up()


def lines(federation, site):
    return (federation.state(site) / site / "ledger" / "ledger.jsonl").read_bytes().splitlines(keepends=True)


def test_what_left_is_in_the_ledger_that_the_server_knows(federation):
    federation.server("run", federation.study("first", **FEDERATION))
    result = federation.result("first")
    assert result["state"] == "completed"
    assert result["rounds"][0]["metrics"]["anna"].keys() == {"validation_error"}
    assert len(result["rounds"][0]["metrics"]["berta"]) > 1
    for site in federation.names:
        known = result["ledgers"][site]
        assert known["length"] == len(lines(federation, site)) == 5  # join, two rounds, closing, delivery
        options = ("--length", known["length"], "--head", known["head"])
        said = federation.client("ledger", "verify", federation.config(site), *options)
        assert "the server has acknowledged 4 of them" in said
    said = federation.client("ledger", "show", federation.config("anna"))
    assert "kept back: policy.metrics: " in said
    assert "policy.metrics" not in federation.client("ledger", "show", federation.config("berta"))


def test_a_lost_ledger_lets_nothing_out_in_another_run(federation):
    folder = federation.state("anna") / "anna" / "ledger"
    folder.rename(folder.with_name("away"))
    said = federation.server("run", federation.study("lost", **FEDERATION), code=QuorumError.exit_code)
    assert "anna: reports LedgerError" in said
    assert "the server knows of 5 lines" in (federation.state("anna") / "daemon.jsonl").read_text()
    shutil.rmtree(folder)
    folder.with_name("away").rename(folder)


def test_a_study_that_asks_for_more_is_refused_before_its_first_round(federation):
    federation.change_site("anna", policy={"dp_required": True, "dp_epsilon": 1.0})  # read anew with each order
    said = federation.server("run", federation.study("strict", **FEDERATION), code=QuorumError.exit_code)
    assert "anna: its policy refuses: policy.dp_required: the study has no differential privacy" in said
    assert b'"kind":"refusal"' in lines(federation, "anna")[-1]
    assert '"event": "withheld"' in (federation.state("anna") / "daemon.jsonl").read_text()
    assert "policy.dp_required" in federation.client("ledger", "report", federation.config("anna"))


def test_nothing_leaves_a_site_whose_ledger_was_changed(federation):
    federation.change_site("anna", policy={})
    file = federation.state("anna") / "anna" / "ledger" / "ledger.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"n_images":12', b'"n_images":11', 1))
    said = federation.client("ledger", "verify", federation.config("anna"), code=LedgerError.exit_code)
    assert "line 1 is not what was written" in said
    said = federation.server("run", federation.study("cut", **FEDERATION), code=QuorumError.exit_code)
    assert "anna: reports LedgerError" in said
