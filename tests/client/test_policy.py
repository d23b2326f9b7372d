"""The one door: what may leave, what is made of it, and that there is no other."""

import ast
import math
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from federating import first_model, note_joined
from flwr.app import Message
from hospitals import tiny_federation
from hypothesis import given
from hypothesis import strategies as st
from replies import histogram_reply, join_reply, round_reply

from client import terms
from client.door import Door
from client.ledger.book import Ledger
from client.ledger.line import Head, Spent
from client.listed import ALLOWED_FIELDS
from client.policy import _narrowed, failed, release
from client.seat import Seat
from ra_core.clipping import update_norm
from ra_core.config import PolicyConfig, StudyConfig, TrainingConfig
from ra_core.daemons.events import Events, read_events
from ra_core.errors import LedgerError, ReleaseError
from ra_core.fixed_point import RESOLUTION, encode
from ra_core.installed import package_hash
from ra_core.messages import (
    SITE_FAILED,
    DeliveryReply,
    Failure,
    HistogramReply,
    JoinOrder,
    JoinRefusal,
    JoinReply,
    RoundOrder,
    RoundReply,
)
from simulation.engines import InProcessGrid

CLIENT = Path(__file__).resolve().parents[2] / "client"

NAMES = {"run": "run", "package_hash": package_hash()}

RULES = {"parts": ["encoder"]}


def study(**federation):
    return tiny_federation(**RULES | federation)


def join_order(found=None, **changes):
    return JoinOrder(**{"study": found or study()} | NAMES | changes)


def round_order(found=None, **changes):
    counts = {"round": 3, "base_round": 0, "best_round": 0, "start_step": 0, "steps": 2, "proximal_mu": 0.0}
    return RoundOrder(**{"study": found or study(), "model": {}} | NAMES | counts | changes)


@pytest.fixture
def door(tmp_path):
    def make(**policy):
        ledger = Ledger.of(tmp_path, "anna")
        rules, events = PolicyConfig.model_validate(policy), Events(tmp_path / "daemon.jsonl")
        return Door("anna", rules, ledger, events, Seat("anna", None, tmp_path / "masking.json"))

    return make


@pytest.fixture(scope="module")
def asked():
    from client.app import app

    InProcessGrid(app, [])  # a message needs a run
    return Message(join_order().to_record(), dst_node_id=1, message_type="query")


@pytest.fixture
def let_out(asked):
    """What leaves of a reply."""

    def send(reply, door, order=None):
        if order is None:
            order = join_order() if isinstance(reply, JoinReply) else round_order()
        if not isinstance(order, JoinOrder):
            note_joined(door.ledger, order)
        return release(reply, order, door, asked).content

    return send


def lines(door):
    """Of all that left after joining, as `let_out` notes it."""
    with door.ledger.opened() as book:
        return [line for line in book.lines() if line.kind != "join" or line.what["facts"]]


def told(tmp_path):
    return [event["why"] for event in read_events(tmp_path / "daemon.jsonl")[0] if event["event"] == "withheld"]


UPDATE = {"encoder.w": encode(np.array([3.0, -4.0])), "encoder.b": encode(np.zeros(1))}


class TestWhatIsListed:
    def test_what_is_allowed_leaves_as_it_is(self, door, let_out):
        out = RoundReply.from_record(let_out(round_reply(update=UPDATE), door()))
        assert out.metrics == {"validation_error": 0.5}
        assert out.n_images == 9
        np.testing.assert_array_equal(out.update["encoder.w"], UPDATE["encoder.w"])

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"update": {"decoder.w": np.zeros(2, np.int32)}}, "decoder.w"),
            ({"update": {"optimizer.m": np.zeros(2, np.int32)}}, "optimizer.m"),
            ({"metrics": {"validation_error": 0.5, "score_of_patient_7": 0.1}}, "score_of_patient_7"),
            ({"metrics": {"validation_error": math.nan}}, "not finite"),
        ],
    )
    def test_anything_else_stays(self, door, let_out, changes, reason):
        with pytest.raises(ReleaseError, match=reason):
            let_out(round_reply(**changes), door())
        assert lines(door()) == []

    @pytest.mark.parametrize("sent", [join_reply(), DeliveryReply("anna", "c" * 64)])
    def test_counts_and_hashes_leave_as_they_are(self, door, let_out, sent):
        found = vars(type(sent).from_record(let_out(sent, door())))
        line = lines(door())[-1]
        head = {"ledger_length": line.number, "ledger_head": line.hash}
        assert found == vars(sent) | head
        assert line.what["facts"] == {name: value for name, value in found.items() if name not in head}

    def test_the_list_names_every_field_of_today(self):
        for kind, allowed in ALLOWED_FIELDS.items():
            assert {field.name for field in fields(kind)} == allowed

    def test_a_field_that_nobody_has_put_on_the_list_stays(self, door, let_out):
        with pytest.raises(ReleaseError, match="not on the list"):
            let_out(Talkative(**vars(join_reply())), door())


@dataclass(frozen=True)
class Talkative(JoinReply):
    patients: str = "patient seven"


class TestWhatThePolicyMakesOfAReply:
    @pytest.mark.parametrize(
        ("policy", "of_study", "norm"),
        [(1.0, None, 1.0), (1.0, 2.0, 1.0), (2.0, 1.0, 1.0), (None, 2.0, 2.0), (9, 9, 5)],
    )
    def test_the_tighter_norm_holds_at_the_site(self, door, let_out, policy, of_study, norm):
        order = round_order(study(clip_update_norm=of_study))
        sent = let_out(round_reply(update=UPDATE), door(clip_update_norm=policy), order)
        left = RoundReply.from_record(sent).update
        assert update_norm(left) == pytest.approx(norm, abs=1e-6)
        assert lines(door())[-1].what["norm"] == update_norm(left)

    @pytest.mark.parametrize("name", ["float16", "bfloat16"])
    @given(values=st.lists(st.floats(-8, 8), min_size=1, max_size=9))
    def test_an_update_leaves_as_the_type_holds_it(self, name, values):
        sent = round_reply(update={"encoder.w": encode(np.array(values))})
        left = _narrowed(sent, study(), PolicyConfig(update_type=name))[0].update["encoder.w"]
        exact = left * RESOLUTION
        held = torch.tensor(exact).to(getattr(torch, name)).double().numpy()
        np.testing.assert_array_equal(exact, held)
        assert (np.abs(left) <= np.abs(sent.update["encoder.w"])).all()
        assert (np.abs(left) >= np.abs(sent.update["encoder.w"]) * (1 - 2.0**-7)).all()

    @pytest.mark.parametrize(
        ("policy", "left"), [("all", {"loss", "validation_error"}), ("none", set()), (["loss"], {"loss"})]
    )
    def test_metrics_that_may_not_leave_are_taken_out_and_noted(self, door, let_out, policy, left):
        metrics = {"loss": 1.0, "validation_error": 0.5}
        sent = RoundReply.from_record(let_out(round_reply(update=UPDATE, metrics=metrics), door(metrics=policy)))
        assert sent.metrics.keys() == left
        what = lines(door())[-1].what
        assert what["metrics"].keys() == left
        assert what["withheld"] == [f"policy.metrics: {name}" for name in sorted(metrics.keys() - left)]

    def test_the_line_says_what_left(self, door, let_out):
        open_door = door(metrics="none")
        let_out(round_reply(update=UPDATE), open_door)
        (line,) = lines(open_door)
        assert (line.kind, line.run, line.round, line.study) == ("round", "run", 3, study().digest())
        assert (line.policy, line.privacy) == (open_door.policy.digest(), None)
        assert [(t["name"], t["shape"], t["dtype"], t["norm"], t["bytes"]) for t in line.what["tensors"]] == [
            ("encoder.b", [1], "int32", 0.0, 4),
            ("encoder.w", [2], "int32", 5.0, 8),
        ]
        assert line.what["facts"]["n_patients"] == 3


class TestHistograms:
    def test_a_line_tells_patients_cells_and_the_smallest_count(self, door, let_out):
        sent = HistogramReply.from_record(let_out(histogram_reply(), door(min_cell=2)))
        (line,) = lines(door())
        found = line.what["facts"]["histograms"]["scores"]
        assert (found["patients"], found["cells"], found["smallest"]) == (4, len(sent.scores.cells), 2)
        assert (line.kind, line.round, line.what["withheld"]) == ("histogram", 0, [])

    def test_what_may_not_leave_is_not_in_the_message_and_the_line_says_why(self, door, let_out):
        sent = HistogramReply.from_record(let_out(histogram_reply(), door(histograms="none")))
        assert (sent.n, sent.scores.cells) == (0, ())
        (line,) = lines(door())
        assert line.what["withheld"] == [f"histogram: {sent.withheld}"]
        assert line.what["facts"]["histograms"] == {}


class TestWhatThePolicyRefuses:
    @pytest.mark.parametrize(
        ("policy", "reason"),
        [
            ({"parts": ["decoder"]}, "policy.parts doesn't let out encoder"),
            ({"tensors": ["encoder.none."]}, "policy.tensors doesn't let out encoder."),
            ({"packages": ["0" * 64]}, f"the installed software, {package_hash()}"),
            ({"dp_required": True, "dp_epsilon": 1.0}, "no differential privacy"),
            ({"secure_aggregation_required": True}, "no secure aggregation"),
            ({"rounds_total": 1}, "policy.rounds_total leaves 1 updates, and 2 are asked for"),
            ({"min_patients": 4}, "policy.min_patients: the site has fewer"),
            ({"min_count": 3}, "policy.min_count: n_val_patients is smaller"),
        ],
    )
    def test_joining_is_refused_with_the_reason(self, door, let_out, tmp_path, policy, reason):
        refused = JoinRefusal.from_record(let_out(join_reply(), door(**policy)))
        assert reason in refused.reason
        assert told(tmp_path) == [refused.reason]
        (line,) = lines(door())
        assert (line.kind, line.what["facts"]) == ("refusal", {"site": "anna", "reason": refused.reason})

    @pytest.mark.parametrize(
        "policy",
        [
            {"parts": ["decoder"]},
            {"tensors": ["encoder.none."]},
            {"packages": ["0" * 64]},
            {"dp_required": True, "dp_epsilon": 1.0},
            {"secure_aggregation_required": True},
        ],
    )
    def test_no_work_is_done_for_an_order_that_skips_joining(self, door, policy):
        with pytest.raises(ReleaseError, match=next(iter(policy))):
            door(**policy).receive(round_order())

    @pytest.mark.parametrize(("policy", "changes"), [({"min_patients": 4}, {}), ({"min_count": 4}, {"n_val": 3})])
    def test_a_site_that_has_become_too_small_answers_no_round(self, door, let_out, policy, changes):
        with pytest.raises(ReleaseError, match=next(iter(policy))):
            let_out(round_reply(update=UPDATE, **changes), door(**policy))

    @pytest.mark.parametrize("policy", [{"clip_update_norm": 1.0}, {"update_type": "float16"}])
    def test_means_over_images_are_never_made_coarser(self, policy):
        once = {"rounds": 1, "local_steps": 1}
        settings = {"method": {"name": "pca"}, "training": {"steps": 1}, "federation": once}
        found = terms.objections(PolicyConfig(**policy), join_order(StudyConfig.model_validate(settings)), [])
        assert any(next(iter(policy)) in text for text in found)

    def test_a_refusal_leaves_with_the_policys_own_words_or_not_at_all(self, door, let_out):
        made_up = JoinRefusal("anna", "Doe, Jane has come back")
        refused = JoinRefusal.from_record(let_out(made_up, door(parts=["decoder"]), join_order()))
        assert refused.reason.startswith("policy.parts")
        with pytest.raises(ReleaseError, match="nothing in the policy"):
            let_out(made_up, door(), join_order())

    def test_all_reasons_are_told_at_once(self, door, let_out):
        refused = JoinRefusal.from_record(
            let_out(join_reply(), door(dp_required=True, dp_epsilon=1.0, parts=["decoder"]))
        )
        assert "dp_required" in refused.reason
        assert "parts" in refused.reason


class TestImagesDrawn:
    @pytest.mark.parametrize(("least", "objects"), [(1, False), (24, False), (25, True)])
    def test_a_study_of_few_images_a_round_is_refused_at_joining(self, least, objects):
        asked = study(local_steps=3).model_copy(update={"training": TrainingConfig(batch_size=8)})
        found = terms.objections(PolicyConfig(min_images_drawn=least), join_order(asked), [])
        assert bool(found) is objects
        assert not objects or "min_images_drawn: a round of 3 steps on 8 images draws fewer" in found[0]

    def test_what_counts_is_what_the_order_asks_for(self, door, let_out):
        batch = round_order(steps=1).study.training.batch_size
        with pytest.raises(ReleaseError, match="a round of 1 steps"):
            let_out(round_reply(update=UPDATE), door(min_images_drawn=2 * batch), round_order(steps=1))
        assert let_out(round_reply(update=UPDATE), door(min_images_drawn=2 * batch), round_order(steps=2))
        assert let_out(round_reply(update={}), door(min_images_drawn=2 * batch), round_order(steps=0))

    def test_a_falling_rate_counts_down_to_a_hundredth_of_the_rounds_largest(self):
        method = {"name": "dae", "schedule_steps": 100}  # a half cosine: below 1 % from step 94 on
        asked = study(local_steps=100).model_dump() | {"method": method, "training": {"batch_size": 1}}
        asked = StudyConfig.model_validate(asked | {"federation": {"rounds": 1, "local_steps": 100}})
        assert terms.objections(PolicyConfig(min_images_drawn=94), join_order(asked), []) == []
        (found,) = terms.objections(PolicyConfig(min_images_drawn=95), join_order(asked), [])
        assert "a round of 100 steps on 1 images, 6 of them at next to no learning rate, draws fewer" in found

    def test_all_rounds_of_a_study_are_looked_at_in_joining(self):
        method = {"name": "vae", "late_from": 5, "late_learning_rate": 1e-9}  # within the second round
        asked = StudyConfig.model_validate(study(local_steps=4, rounds=3).model_dump() | {"method": method})
        least = PolicyConfig(min_images_drawn=4 * asked.training.batch_size)
        assert len(terms.objections(least, join_order(asked), [])) == 1

    def test_no_number_of_steps_keeps_a_site_busy(self):
        asked = study(local_steps=10**15, rounds=10**15)
        assert "are not looked through" in terms.objections(PolicyConfig(min_images_drawn=2), join_order(asked), [])[0]

    def test_methods_that_need_no_steps_are_not_meant(self):
        one = {"rounds": 1, "local_steps": 1}
        asked = StudyConfig.model_validate({"method": {"name": "pca"}, "training": {"steps": 1}, "federation": one})
        assert terms.objections(PolicyConfig(min_images_drawn=10**6), join_order(asked), []) == []


class TestRounds:
    def test_updates_are_counted_where_a_restart_finds_them(self, door, let_out):
        for _ in range(2):
            let_out(round_reply(update=UPDATE), door(rounds_total=2))
        with pytest.raises(ReleaseError, match="rounds_total leaves 0 updates, and 1 are asked for"):
            let_out(round_reply(update=UPDATE), door(rounds_total=2))
        closing = let_out(round_reply(update={}), door(rounds_total=2), round_order(steps=0))
        assert not RoundReply.from_record(closing).update

    def test_a_resumed_run_needs_only_what_is_left_of_it(self):
        policy = PolicyConfig(rounds_total=3)
        order = join_order(study(rounds=3))
        now = datetime.now(UTC)
        spent = [Spent(now, "run", order.study.digest(), number) for number in (1, 2)]
        assert terms.objections(policy, order, spent) == []
        assert terms.objections(policy, order, [Spent(now, "other", "s", 1)]) != []
        assert terms.objections(policy, order, [*spent, spent[0]]) != []  # a repeated round has left twice

    def test_a_day_has_so_many_updates(self):
        policy, now = PolicyConfig(rounds_per_day=2), datetime.now(UTC)
        old, new = (Spent(now - timedelta(hours=hours), "run", "s", 1) for hours in (25, 23))
        for order in (join_order(), round_order()):
            assert terms.objections(policy, order, [old, old, new]) == []
            assert "24 hours" in terms.objections(policy, order, [old, new, new])[0]
        assert terms.objections(policy, round_order(steps=0), [new, new]) == []


class TestLedger:
    def test_what_leaves_where_no_app_of_ours_has_answered_has_a_line(self, door, tmp_path):
        sent = failed(Failure("BundleError", "anna"), door(), "server.allowed: not that")
        assert (sent.code, sent.reason) == (SITE_FAILED, "BundleError at anna")
        (line,) = lines(door())
        assert (line.kind, line.run, line.what["withheld"]) == ("error", "", ["server.allowed: not that"])
        (tmp_path / "anna" / "ledger" / "ledger.jsonl").write_text("cut\n")
        assert failed(Failure("BundleError", "anna"), door(), "").reason == "LedgerError at anna"

    def test_nothing_leaves_without_a_line(self, door, let_out, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        note_joined(door().ledger, round_order())
        monkeypatch.setattr("client.ledger.book.append", full)
        with pytest.raises(LedgerError, match="No space left"):
            let_out(round_reply(update=UPDATE), door())

    def test_a_failure_leaves_as_kind_and_site_and_has_a_line(self, door, asked):
        sent = release(Failure("ReleaseError", "anna"), round_order(), door(), asked, "policy.parts")
        assert (sent.error.code, sent.error.reason) == (SITE_FAILED, "ReleaseError at anna")
        (line,) = lines(door())
        assert (line.kind, line.what["facts"]) == ("error", {"kind": "ReleaseError", "site": "anna", "about": ""})
        assert line.what["withheld"] == ["policy.parts"]

    def test_a_failure_without_a_line_says_only_that_there_is_none(self, door, asked, tmp_path):
        (tmp_path / "anna").write_text("no folder")
        sent = release(Failure("DataError", "anna"), round_order(), door(), asked)
        assert sent.error.reason == "LedgerError at anna"
        assert len(told(tmp_path)) == 1

    def test_what_an_order_acknowledges_is_kept(self, door, let_out):
        let_out(join_reply(), door())
        with door().ledger.opened() as book:
            head = book.head
        door().receive(round_order(ledger_length=1, ledger_head=head.hash))
        assert door().ledger.acknowledged == Head(1, head.hash)
        with pytest.raises(LedgerError, match="line 1 is not the one that the server knows of"):
            door().receive(round_order(ledger_length=1, ledger_head="a" * 64))
        with pytest.raises(LedgerError, match="the server knows of 2 lines"):
            door().receive(round_order(ledger_length=2, ledger_head="a" * 64))


def _calls(path):
    """Names that a file calls: of functions, and of methods with a dot before them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = node.func
            yield called.id if isinstance(called, ast.Name) else f".{getattr(called, 'attr', '')}"


class _Uses(ast.NodeVisitor):
    """Whether a name stands anywhere as a value: called, or given another name. In types it may."""

    def __init__(self, name):
        self.name, self.found = name, False

    def visit_Name(self, node):
        self.found = self.found or node.id == self.name

    def visit_alias(self, node):
        self.found = self.found or (node.name == self.name and node.asname is not None)

    def visit_Attribute(self, node):
        self.found = self.found or node.attr == self.name
        self.generic_visit(node)

    def visit_Subscript(self, node):
        self.visit(node.value)

    def visit_arg(self, node):
        """Its annotation is a type."""

    def visit_AnnAssign(self, node):
        if node.value:
            self.visit(node.value)

    def visit_FunctionDef(self, node):
        for part in (*node.decorator_list, node.args, *node.body):
            self.visit(part)


def users(name):
    """Files that use a name as a value, however they call it."""
    found = set()
    for path in CLIENT.rglob("*.py"):
        uses = _Uses(name)
        uses.visit(ast.parse(path.read_text(encoding="utf-8")))
        if uses.found:
            found.add(path.relative_to(CLIENT).as_posix())
    return found


def callers(name):
    return {path.relative_to(CLIENT).as_posix() for path in CLIENT.rglob("*.py") if name in _calls(path)}


class TestThereIsNoOtherDoor:
    @pytest.mark.parametrize("name", ["RecordDict", "ArrayRecord", "MetricRecord", "ConfigRecord", "Array"])
    def test_nobody_else_makes_records(self, name):
        assert callers(name) == set()

    def test_messages_are_made_by_the_door_alone(self):
        assert users("Message") == {"policy.py", "member/mail.py"}  # which only puts a failure in an error's place
        assert callers(".to_record") == {"policy.py"}
        assert callers(".to_error") == {"policy.py"}
        assert callers("release") == {"app.py"}

    def test_a_replaced_error_holds_no_more_than_its_kind(self):
        assert callers("Error") == set()
        assert users("Error") == {"member/supernode.py"}  # which asks whether something is one
        assert callers("failed") == {"member/supernode.py"}

    def test_lines_are_written_by_the_door_alone(self):
        assert callers("Entry") == {"policy.py", "spending.py", "ledger/book.py"}  # two make notes, of no message


def test_the_policy_of_today_lets_out_what_it_did(door, let_out):
    model = first_model(tiny_federation())
    update = {name: np.ones(array.shape, np.int32) for name, array in model.items()}
    sent = let_out(round_reply(update=update), door(), round_order(tiny_federation()))
    assert RoundReply.from_record(sent).update.keys() == model.keys()
