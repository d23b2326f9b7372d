"""A site's seat in masked rounds: what it refuses, what it keeps, and that no figures leave it without masks."""

import shutil
import stat
from dataclasses import replace

import pytest
from federating import answer_of, first_model, note_joined, train_hospitals
from filelock import FileLock, Timeout
from hospitals import tiny_federation
from replies import round_reply
from summing import NAMES, begin_ledger, change, pins_of, plain, secure, secure_hospitals, write_keyring

from client.ledger.book import Ledger
from client.seat import Seat
from client.terms import shared_shapes
from ra_core.config import RuntimeConfig, SiteConfig
from ra_core.errors import ConfigError, MaskingError, QuorumError
from ra_core.hashing import array_digest
from ra_core.installed import package_hash
from ra_core.messages import (
    JoinOrder,
    JoinRefusal,
    JoinReply,
    MaskedOrder,
    RoundOrder,
    StageOrder,
    StageReply,
    task_digest,
)
from ra_core.settings import load_config

pytestmark = pytest.mark.slow

ONE_THREAD = RuntimeConfig(threads=1)
ROUND = {"round": 1, "base_round": 0, "best_round": 0, "start_step": 0, "steps": 2, "proximal_mu": 0.0}
FACTS = {"run": "run", "package_hash": package_hash()}


@pytest.fixture
def anna(site_root, tmp_path):
    return secure_hospitals(site_root, tmp_path)[0]


def joining(hospital, study):
    """What a site answers to joining: a reply, or the reason of a refusal."""
    content = answer_of(hospital.settings(ONE_THREAD), JoinOrder(study=study, **FACTS), "query").content
    if JoinRefusal.is_one(content):
        return JoinRefusal.from_record(content).reason
    return JoinReply.from_record(content)


def lines(tmp_path, site="anna"):
    """What has left: without the statement that each ledger begins with."""
    with Ledger.of(tmp_path / "state", site).opened() as book:
        return [line for line in book.lines() if line.kind != "begin"]


def stage_order(stage="announce", relayed=None, **changes):
    fields = {"stage": stage, "round": 1, "start_step": 0, "steps": 2, "task": "a" * 64, "relayed": relayed or {}}
    return StageOrder(**{"study": secure()} | FACTS | fields | changes)


class TestJoining:
    def test_a_site_tells_by_which_keys_it_knows_the_others_and_no_count(self, anna, tmp_path):
        reply = joining(anna, secure())
        assert all(pin in reply.pins for pin in pins_of(tmp_path).values())
        assert (reply.n_images, reply.n_val, reply.n_used) == (0, 0, 0)

    def test_in_other_studies_it_tells_counts_and_no_key(self, anna):
        reply = joining(anna, tiny_federation())
        assert (reply.pins, reply.n_images) == ("", 12)

    def test_it_refuses_a_study_without_where_its_policy_says_so(self, anna):
        change(anna, policy={"secure_aggregation_required": True})
        assert "policy.secure_aggregation_required: the study has no" in joining(anna, tiny_federation())
        assert joining(anna, secure()).site == "anna"

    @pytest.mark.parametrize(
        ("policy", "study", "reason"),
        [
            ({}, {"threshold": 5}, "secure_aggregation.sites: a threshold of 5 for 4 sites"),
            ({"metrics": "none"}, {}, "policy.metrics doesn't let out validation_error, which every site gives"),
            ({"min_patients": 1000}, {}, "policy.min_patients: the site has fewer"),
            (
                {"secure_aggregation_least": 4},
                {},
                "policy.secure_aggregation_least: 3 sites are enough for the study, 4 are wanted",
            ),
        ],
    )
    def test_it_refuses_what_it_can_not_give(self, anna, policy, study, reason):
        change(anna, policy=policy)
        assert reason in joining(anna, secure(**study))

    def test_it_joins_where_no_sum_can_have_fewer_sites_than_its_policy_wants(self, anna):
        change(anna, policy={"secure_aggregation_least": 4})
        assert joining(anna, secure(threshold=4)).site == "anna"
        assert "policy.secure_aggregation_least: the study has no" in joining(anna, tiny_federation())

    def test_without_keys_it_takes_no_part(self, anna):
        change(anna, secure_aggregation=None)
        assert "this site's config has no keys for it" in joining(anna, secure())

    @pytest.mark.parametrize(("names", "reason"), [(("anna", "berta"), "2 sites are too few"), ((), "0 sites are too")])
    def test_it_refuses_a_sum_of_fewer_than_three(self, anna, tmp_path, names, reason):
        write_keyring(anna, tmp_path, {name: pin for name, pin in pins_of(tmp_path).items() if name in names})
        assert reason in joining(anna, secure())

    def test_it_refuses_where_its_own_key_is_not_the_one_that_others_know(self, anna, tmp_path):
        write_keyring(anna, tmp_path, pins_of(tmp_path) | {"anna": "SHA256:" + 43 * "A"})
        assert "own fingerprint is not that of its signing key" in joining(anna, secure())


class TestNothingLeavesUnmasked:
    def test_an_order_without_masks_is_refused_before_any_work(self, anna, tmp_path):
        study = secure()
        order = RoundOrder(study=study, model=first_model(study), **FACTS | ROUND)
        assert answer_of(anna.settings(ONE_THREAD), order).error.reason == "ReleaseError at anna"
        (line,) = lines(tmp_path)
        assert "the order asks for figures without masks" in line.what["withheld"][0]

    def test_figures_that_have_left_under_masks_do_not_leave_without(self, site_root, tmp_path):
        """A study without secure aggregation, but the same model: its update would be the very one that was hidden."""
        hospitals = secure_hospitals(site_root, tmp_path)
        train_hospitals(hospitals, secure(rounds=1))
        unmasked = plain(rounds=1, join_seconds=2.0)
        with pytest.raises(QuorumError, match="anna: its policy refuses: seed: figures with seed 0 have left under"):
            train_hospitals(hospitals, unmasked)
        order = RoundOrder(study=unmasked, model=first_model(unmasked), **FACTS | ROUND)
        assert answer_of(hospitals[0].settings(ONE_THREAD), order).error.reason == "ReleaseError at anna"
        assert "spending" not in {line.kind for line in lines(tmp_path)}
        assert lines(tmp_path)[-1].what["withheld"][0].count("have left under masks") == 2, "by its seed, and its model"

    @pytest.mark.parametrize("again", [plain(rounds=1), secure(rounds=1)], ids=["in the clear", "in another sum"])
    def test_a_site_that_has_lost_its_ledger_answers_nothing_before_its_people_have_said_so(
        self, site_root, tmp_path, again
    ):
        """What has left under masks stands in the ledger alone, and a server need not tell that it knew of one."""
        anna, *_ = hospitals = secure_hospitals(site_root, tmp_path)
        train_hospitals(hospitals, secure(rounds=1))
        shutil.rmtree(Ledger.of(anna.state, "anna").folder)
        lack = "nobody has said that nothing left before this ledger: `ra-client ledger begin`"
        assert joining(anna, again) == f"secure_aggregation.sites: {lack}"
        begin_ledger(anna)
        assert joining(anna, again).site == "anna"

    @pytest.mark.parametrize(("required", "why"), [(False, ""), (True, "policy.secure_aggregation_required: ")])
    def test_who_has_lost_ledger_and_list_is_taken_for_new(self, site_root, tmp_path, required, why):
        """A site with the config of its kit isn't held up; figures in the clear are the policy's to refuse."""
        policies = {"anna": {"secure_aggregation_required": required}}
        anna, *_ = hospitals = secure_hospitals(site_root, tmp_path, policies=policies)
        train_hospitals(hospitals, secure(rounds=1))
        shutil.rmtree(Ledger.of(anna.state, "anna").folder)
        write_keyring(anna, tmp_path, {})
        answer = joining(anna, plain(rounds=1))
        assert answer.startswith(why) if required else answer.site == "anna"
        assert joining(anna, secure(rounds=1)).startswith("secure_aggregation.sites: "), "no masked round takes it"

    def test_the_model_is_built_for_announcing_alone(self, site_root, tmp_path, monkeypatch):
        """The other exchanges of keys don't wait for torch."""
        built = []
        monkeypatch.setattr("client.seat.shared_shapes", lambda study: built.append(1) or shared_shapes(study))
        train_hospitals(secure_hospitals(site_root, tmp_path), secure(rounds=1))
        assert len(built) == len(NAMES), "a round's; the closing exchange has no update"

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"run": "another"}, "in another run, and don't again: take another"),
            ({"study": secure(rounds=1, deadline_seconds=9.0)}, "in another run, and don't again: take another"),
            ({"steps": 1}, "figures up to step 2 have left under masks in this run"),
            ({"start_step": 1, "round": 2}, "figures up to step 2 have left under masks in this run"),
        ],
        ids=["run", "settings", "fewer steps", "later step"],
    )
    def test_a_model_that_is_the_same_but_for_its_hash_gets_no_second_sum(self, site_root, tmp_path, changes, reason):
        """A server that makes a zero a -0.0, or changes a weight's last bit, would know a site by the difference."""
        hospitals = secure_hospitals(site_root, tmp_path)
        train_hospitals(hospitals, secure(rounds=1))
        order = stage_order(**{"study": secure(rounds=1), "task": "b" * 64} | changes)
        assert answer_of(hospitals[0].settings(ONE_THREAD), order, "query.stage").has_error()
        assert reason in lines(tmp_path)[-1].what["withheld"][0]

    def test_a_round_budget_holds_before_keys_are_announced(self, site_root, tmp_path):
        hospitals = secure_hospitals(site_root, tmp_path)
        train_hospitals(hospitals, secure(rounds=1))
        change(hospitals[0], policy={"rounds_total": 1})
        seat_order = stage_order(study=secure(rounds=1), round=2, start_step=2)
        assert answer_of(hospitals[0].settings(ONE_THREAD), seat_order, "query.stage").error.reason == (
            "ReleaseError at anna"
        )
        assert lines(tmp_path)[-1].what["withheld"][0].startswith("policy.rounds_total leaves 0 updates")
        closing = stage_order(study=secure(rounds=1), round=2, start_step=2, steps=0)
        assert answer_of(hospitals[0].settings(ONE_THREAD), closing, "query.stage").has_error()
        assert "as many last models were judged as updates have left, 1" in lines(tmp_path)[-1].what["withheld"][0]


class TestASiteSpeaksOnce:
    @pytest.fixture
    def seat(self, anna, tmp_path):
        return Seat.of(load_config(anna.site_config, SiteConfig), tmp_path / "state")

    def test_what_it_keeps_is_for_nobody_else(self, seat):
        assert isinstance(seat.speak(stage_order()), StageReply)
        assert sorted(path.name for path in seat.file.parent.iterdir()) == ["ledger", "masking.json"]
        assert stat.S_IMODE(seat.file.stat().st_mode) == 0o600

    def test_it_keeps_before_the_answer_leaves(self, seat, monkeypatch):
        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("client.seat.write_atomically", full)
        with pytest.raises(OSError, match="No space"):
            seat.speak(stage_order())

    def test_no_two_processes_answer_at_a_time(self, anna, tmp_path, monkeypatch):
        """The second has read what was said before the first has written, and would sign another division."""
        tried = []

        def speak(seat, order):
            lock = FileLock(tmp_path / "state" / "anna" / "ledger" / ".lock")
            with pytest.raises(Timeout):
                lock.acquire(timeout=0)
            tried.append(order.stage)
            raise MaskingError("enough")

        note_joined(Ledger.of(tmp_path / "state", "anna"), stage_order())
        monkeypatch.setattr(Seat, "speak", speak)
        answer_of(anna.settings(ONE_THREAD), stage_order(), "query.stage")
        assert tried == ["announce"]

    def test_what_it_keeps_goes_when_its_run_is_over(self, seat, tmp_path, monkeypatch):
        seat.speak(stage_order())
        seat.forget("another")
        assert seat.file.exists()
        synced = []
        monkeypatch.setattr("client.seat.sync_folder", synced.append)
        seat.forget("run")
        assert not seat.file.exists()
        assert synced == [seat.file.parent]
        seat.forget("run")

    @pytest.mark.parametrize(
        "changes", [{"round": 2}, {"run": "another"}, {"task": "b" * 64}], ids=["round", "run", "task"]
    )
    def test_keys_are_for_one_task_of_one_round(self, seat, changes):
        seat.speak(stage_order())
        with pytest.raises(MaskingError, match="for something else"):
            seat.speak(stage_order("deal", **changes))

    @pytest.mark.parametrize("stage", ["deal", "confirm", "reveal"])
    def test_it_says_nothing_before_it_has_announced(self, seat, stage):
        with pytest.raises(MaskingError, match="announced no keys"):
            seat.speak(stage_order(stage))

    def test_a_question_is_not_answered_twice(self, seat, site_root, tmp_path):
        config = tmp_path / "berta.yaml"
        seats = [seat, *(Seat.of(load_config(config.with_stem(n), SiteConfig), tmp_path / "state") for n in NAMES[1:])]
        heard = {each.site: each.speak(stage_order()).message.encode() for each in seats}
        seat.speak(stage_order("deal", heard))
        with pytest.raises(MaskingError, match="has dealt in round 1"):
            seat.speak(stage_order("deal", heard))

    def test_figures_are_asked_for_once_and_in_turn(self, seat, site_root, tmp_path):
        """Before anything is trained for them: privacy would be spent on an order that no figures can leave for."""
        study = secure()
        order = MaskedOrder(study=study, model=first_model(study), dealings={}, **FACTS | ROUND | {"steps": 0})
        closing = {"steps": 0, "task": task_digest(order, array_digest(order.model))}
        config = tmp_path / "berta.yaml"
        seats = [seat, *(Seat.of(load_config(config.with_stem(n), SiteConfig), tmp_path / "state") for n in NAMES[1:])]
        heard = {each.site: each.speak(stage_order(**closing)).message.encode() for each in seats}
        with pytest.raises(MaskingError, match="has announced in round 1"):
            seat.require_dealt(order)
        dealings = {each.site: each.speak(stage_order("deal", heard, **closing)).message.encode() for each in seats}
        seat.require_dealt(order)
        reply = round_reply(model_hash=array_digest(order.model), update={}, metrics={"validation_error": 0.1})
        seat.mask(replace(order, dealings=dealings), reply)
        with pytest.raises(MaskingError, match="has masked in round 1"):
            seat.require_dealt(order)

    def test_what_is_damaged_is_not_gone_on_with(self, seat):
        seat.speak(stage_order())
        seat.file.write_bytes(seat.file.read_bytes()[:-9])
        with pytest.raises(MaskingError, match="damaged"):
            seat.speak(stage_order("deal"))

    @pytest.mark.parametrize("content", [b"", b"no key"])
    def test_a_bad_signing_key_is_told(self, seat, content):
        seat.keyring.signing_key.write_bytes(content)
        with pytest.raises(ConfigError, match="signing key can't be read"):
            seat.speak(stage_order())
