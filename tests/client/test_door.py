"""Whole federations of sites with policies and ledgers: what is refused, what is recorded, what is acknowledged."""

import json
import shutil

import pytest
from federating import answer_of, first_model, note_joined, train_hospitals
from hospitals import tiny_federation, write_hospitals

from client.ledger import book
from client.ledger.book import Ledger
from client.member.told import line
from ra_core.config import RuntimeConfig
from ra_core.errors import QuorumError
from ra_core.installed import package_hash
from ra_core.messages import JoinOrder, RoundOrder
from server.rounds.account import Account

pytestmark = pytest.mark.slow

ALONE = {"quorum": 0.5, "join_seconds": 2.0}


@pytest.fixture
def hospitals(site_root, tmp_path):
    return lambda **policies: write_hospitals(site_root, tmp_path, policies=policies)


def lines(tmp_path, site="anna"):
    with Ledger.of(tmp_path / "state", site).opened() as opened:
        return list(opened.lines())


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({"parts": ["encoder"]}, "policy.parts doesn't let out decoder, which the study shares"),
        ({"tensors": ["encoder.", "decoder.first"]}, "policy.tensors doesn't let out decoder."),
        ({"dp_required": True, "dp_epsilon": 1.0}, "policy.dp_required: the study has no differential privacy"),
        ({"secure_aggregation_required": True}, "policy.secure_aggregation_required: the study has no secure"),
        ({"rounds_total": 1}, "policy.rounds_total leaves 1 updates, and 2 are asked for"),
        ({"min_patients": 13}, "policy.min_patients: the site has fewer"),
        ({"packages": ["0" * 64]}, "policy.packages doesn't name the installed software"),
    ],
)
def test_a_study_that_asks_for_more_is_refused_at_joining(hospitals, tmp_path, policy, reason):
    with pytest.raises(QuorumError, match=r"1 of 2 sites joined.*anna: its policy refuses: ") as raised:
        train_hospitals(hospitals(anna=policy), tiny_federation(join_seconds=2.0))
    assert reason in raised.value.message
    assert [line.kind for line in lines(tmp_path)] == ["refusal"]
    assert [line.kind for line in lines(tmp_path, "berta")] == ["join"]


def test_the_others_go_on_without_a_site_that_refuses(hospitals):
    done = train_hospitals(hospitals(anna={"min_patients": 1000}), tiny_federation(**ALONE))
    assert [record.answered for record in done.records] == [("berta",)] * 3
    assert done.records[0].missing == {"anna": "its policy refuses: policy.min_patients: the site has fewer"}


def test_a_policy_that_a_study_keeps_changes_nothing_but_what_it_names(hospitals, tmp_path):
    policy = {"clip_update_norm": 0.01, "update_type": "float16", "metrics": ["validation_error"], "rounds_total": 2}
    done = train_hospitals(hospitals(anna=policy), tiny_federation())
    assert [record.answered for record in done.records] == [("anna", "berta")] * 3
    assert done.records[0].by_site["anna"].keys() == {"validation_error"}
    rounds = [line for line in lines(tmp_path) if line.kind == "round"]
    assert all(0 < line.what["norm"] <= 0.01 for line in rounds)
    assert max(line.what["norm"] for line in lines(tmp_path, "berta") if line.kind == "round") > 0.01
    assert len(rounds) == 2


def test_where_no_error_may_leave_the_latest_model_is_taken(hospitals, tmp_path):
    done = train_hospitals(hospitals(anna={"metrics": "none"}, berta={"metrics": "none"}), tiny_federation())
    assert [record.answered for record in done.records] == [("anna", "berta")] * 3
    assert done.best_round == 2
    assert done.delivered == ("anna", "berta")
    Account(tmp_path, "run", tiny_federation(), ["anna", "berta"], "").write(done)
    told = json.loads((tmp_path / "run.json").read_text())
    assert told["best_error"] is None
    assert told["rounds"][0]["validation_error"] is None


class TestModelsThatAServerMakes:
    """A model is a program that the server chooses: with a constant picture, its error tells of the mean image."""

    @pytest.fixture
    def judged(self, hospitals, tmp_path):
        def ask(changed, policy, study=None, **fields):
            study = study or tiny_federation()
            model = first_model(study)
            next(iter(model.values()))[...] += changed
            facts = {"round": 1, "base_round": 0, "best_round": 0, "start_step": 0, "steps": 0, "proximal_mu": 0.0}
            names = {"run": f"run {changed}", "package_hash": package_hash()}
            order = RoundOrder(study=study, model=model, **names | facts | fields)
            note_joined(Ledger.of(tmp_path / "state", "anna"), order)
            sent = answer_of(hospitals(anna=policy)[0].settings(RuntimeConfig(threads=1)), order)
            return sent.error.reason if sent.has_error() else "judged"

        return ask

    @pytest.mark.parametrize("policy", [{"rounds_total": 9}, {"rounds_per_day": 9}])
    def test_a_budget_of_rounds_bounds_how_many_are_judged(self, judged, tmp_path, policy):
        refused, again = "ReleaseError at anna", tiny_federation(deadline_seconds=9.0)
        assert judged(0, policy) == refused, "no update has left"
        assert judged(0, policy, steps=2) == "judged"
        assert judged(0, policy) == "judged", "once more: it tells nothing new"
        assert [judged(changed, policy) for changed in (1, 2, 3)] == ["judged", refused, refused]
        assert judged(1, policy) == "judged"
        assert judged(1, policy, study=again) == refused, "by other settings it is another function"
        (why,) = lines(tmp_path)[-1].what["withheld"]
        assert why == f"policy.{next(iter(policy))}: as many last models were judged as updates have left, 1"

    def test_without_a_budget_any_number_is(self, judged):
        assert [judged(changed, {}) for changed in (1, 2)] == ["judged"] * 2

    def test_a_run_that_keeps_to_the_protocol_needs_no_more(self, hospitals):
        done = train_hospitals(hospitals(anna={"rounds_total": 1}), tiny_federation(rounds=1, local_steps=3))
        assert [record.answered for record in done.records] == [("anna", "berta")] * 2


class TestTheServersRecord:
    def test_it_holds_each_sites_head_and_acknowledges_it(self, hospitals, tmp_path):
        done = train_hospitals(hospitals(), tiny_federation())
        Account(tmp_path, "run", tiny_federation(), ["anna", "berta"], "").write(done)
        told = json.loads((tmp_path / "run.json").read_text())
        for site in ("anna", "berta"):
            found = lines(tmp_path, site)
            assert [line.kind for line in found] == ["join", "round", "round", "closing", "delivery"]
            heads = [{"length": line.number, "head": line.hash} for line in found]
            assert [record["ledgers"][site] for record in told["rounds"]] == heads[1:4]
            assert told["ledgers"][site] == heads[-1]
            acknowledged = Ledger.of(tmp_path / "state", site).acknowledged
            assert acknowledged == (4, found[3].hash)  # by the delivery's order

    def test_a_ledger_that_was_cut_is_known_in_the_next_round(self, hospitals, tmp_path):
        ledger = Ledger.of(tmp_path / "state", "anna")

        def cut(progress):
            if progress.round == 1:
                whole = ledger.file.read_bytes().splitlines(keepends=True)
                ledger.file.write_bytes(b"".join(whole[:-1]))  # with its own acknowledgement it still agrees
                assert ledger.acknowledged.length == 1

        done = train_hospitals(hospitals(), tiny_federation(**ALONE), on_round=cut)
        assert [record.answered for record in done.records] == [("anna", "berta"), ("berta",), ("berta",)]
        assert done.records[1].missing == {"anna": "reports LedgerError"}
        assert done.undelivered == {"anna": "reports LedgerError"}

    def test_a_new_run_takes_a_new_ledger(self, hospitals, tmp_path):
        sites = hospitals()
        train_hospitals(sites, tiny_federation())
        for path in (tmp_path / "state" / "anna" / "ledger").iterdir():
            path.unlink()
        done = train_hospitals(sites, tiny_federation())
        assert done.ledgers["anna"][0] == 5
        assert done.ledgers["berta"][0] == 10

    def test_an_older_ledger_than_the_server_knows_of_from_another_run_lets_nothing_out(self, hospitals, tmp_path):
        done = train_hospitals(hospitals(), tiny_federation())
        length, head = done.ledgers["anna"]
        order = JoinOrder(
            study=tiny_federation(), run="later", package_hash=package_hash(), ledger_length=length, ledger_head=head
        )
        settings = hospitals()[0].settings(RuntimeConfig(threads=1))
        assert not answer_of(settings, order, "query").has_error()
        shutil.rmtree(tmp_path / "state" / "anna" / "ledger")
        assert answer_of(settings, order, "query").error.reason == "LedgerError at anna"


def test_with_a_full_disk_nothing_leaves_but_that(hospitals, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(book, "append", full)
    settings = hospitals()[0].settings(RuntimeConfig(threads=1))
    order = JoinOrder(study=tiny_federation(), run="run", package_hash=package_hash())
    sent = answer_of(settings, order, "query")
    assert sent.has_error()
    assert sent.error.reason == "LedgerError at anna"
    (event,) = [json.loads(text) for text in (tmp_path / "state" / "daemon.jsonl").read_text().splitlines()]
    assert (event["event"], event["why"]) == (
        "withheld",
        "the ledger can't be read or written (No space left on device)",
    )


def test_what_the_daemon_says_of_it():
    assert line({"event": "withheld", "why": "policy.parts"}) == "stayed here: policy.parts"
