"""Differential privacy at a site: paid for before a round and never taken back; what was not paid for stays."""

import math
from dataclasses import replace

import numpy as np
import pytest
from federating import answer_of, first_model, note_joined, train_hospitals
from flwr.app import Message
from hospitals import SETTINGS, write_hospitals
from opacus.accountants import PRVAccountant
from private import Seeded
from pydantic import ValidationError
from torch.optim import SGD

import client.app as client_app
from client import rounds
from client.door import Door
from client.ledger.book import Ledger
from client.ledger.line import EMPTY
from client.ledger.listing import told
from client.ledger.report import make_report
from client.policy import release
from client.rounds import Site
from client.site import open_site
from client.spending import beyond_budget, spend
from ra_core.artifact import Card
from ra_core.config import PolicyConfig, RuntimeConfig, SiteConfig, StudyConfig
from ra_core.errors import PrivacyBudgetError, QuorumError, ReleaseError
from ra_core.fixed_point import decode
from ra_core.installed import package_hash
from ra_core.messages import JoinOrder, RoundOrder, RoundReply
from ra_core.models.ra import RA
from ra_core.models.vae import VAE
from ra_core.privacy.accounting import Releases, epsilon_of
from ra_core.privacy.randomness import SYSTEM, Randomness
from ra_core.privacy.steps import PrivateSteps
from ra_core.runtime import Runtime
from ra_core.settings import load_config
from server.rounds.card import model_card
from server.rounds.outcome import outcome
from simulation.engines import InProcessGrid

pytestmark = pytest.mark.slow

ONE_THREAD = RuntimeConfig(threads=1)
DP = {"noise_multiplier": 1.0, "sampling_rate": 0.3, "clip_norm": 0.5, "delta": 1e-5}
ROUND = Releases(0.3, 1.0, 2)
"""Of the study below: two steps of a plain variational autoencoder."""


def private_study(federation=(), method=None, **dp):
    settings = SETTINGS | {"method": method or {"name": "vae", "channels": [4, 8], "latent": 4}}
    settings |= {"federation": SETTINGS["federation"] | dict(federation), "dp": DP | dp}
    return StudyConfig.model_validate(settings)


def plain_study():
    return StudyConfig.model_validate(private_study().model_dump() | {"dp": None})


def order(study, **changes):
    fields = {"round": 1, "base_round": 0, "best_round": 0, "start_step": 0, "steps": 2, "proximal_mu": 0.0}
    names = {"run": "run", "package_hash": package_hash()}
    return RoundOrder(study=study, model=first_model(study), **names | fields | changes)


@pytest.fixture
def hospitals(site_root, tmp_path):
    return lambda **policies: write_hospitals(site_root, tmp_path, policies=policies)


@pytest.fixture
def ledger(tmp_path):
    return Ledger.of(tmp_path / "state", "anna")


def lines(found):
    with found.opened() as book:
        return list(book.lines())


@pytest.fixture
def begun(ledger):
    """The site's word that its account begins with its ledger."""
    with ledger.opened() as book:
        book.begin(EMPTY, "")


def spendings(found):
    with found.opened() as book:
        return book.spendings


def answered(hospitals, sent, kind="train", **policy):
    """What a site that has joined answers."""
    node = hospitals(anna=policy)[0]
    if not isinstance(sent, JoinOrder):
        note_joined(Ledger.of(node.state, node.site), sent)
    return answer_of(node.settings(ONE_THREAD), sent, kind)


class TestAFederation:
    def test_each_round_is_paid_for_and_told_and_what_no_epsilon_covers_stays(self, hospitals, ledger):
        study = private_study()
        done = train_hospitals(hospitals(), study)
        kinds = [line.kind for line in lines(ledger)]
        assert kinds == ["join", "spending", "round", "spending", "round", "closing", "delivery"]
        assert [spending.releases for spending in spendings(ledger)] == [ROUND] * 2
        epsilon = epsilon_of([ROUND] * 2, 1e-5)
        assert done.records[1].privacy["anna"] == (epsilon, 1e-5, 1.0)
        assert done.records[2].privacy == done.records[1].privacy, "the closing exchange tells it too"
        assert all(metrics == {} for record in done.records for metrics in record.by_site.values())
        assert set(done.records[0].images.values()) == {0}
        assert set(done.records[0].fingerprints.values()) == {"0" * 64}
        assert (done.joined["anna"].n_images, done.joined["anna"].n_val_patients) == (0, 0)
        withheld = lines(ledger)[2].what["withheld"]
        assert withheld == ["policy.dp_tells: metrics", "policy.dp_tells: counts"]
        other = PRVAccountant()
        other.history = [(1.0, 0.3, 4)]
        assert other.get_epsilon(1e-5) <= epsilon <= 1.5 * other.get_epsilon(1e-5)

    def test_the_card_tells_epsilon_of_each_site_and_what_lies_outside(self, hospitals):
        study = private_study()
        done = train_hospitals(hospitals(anna={"dp_tells": ["metrics"]}, berta={"dp_noise_multiplier": 2.0}), study)
        found = Card.model_validate_json(model_card(study, done).model_dump_json()).privacy
        anna, berta = found.sites
        assert (anna.site, berta.site) == ("anna", "berta")
        assert (anna.noise_multiplier, berta.noise_multiplier) == (1.0, 2.0)
        assert berta.epsilon == epsilon_of([Releases(0.3, 2.0, 4)], 1e-5) < anna.epsilon
        assert {"validation_error", "vae"} <= set(anna.outside)
        assert berta.outside == ()
        assert found.selection == "lowest validation error that sites have told"
        assert any("patient" in text for text in found.assumptions)
        assert any("thresholds" in text for text in found.outside)

    def test_scores_are_told_where_the_policy_says_so_and_the_card_says_that_they_lie_outside(self, hospitals):
        asked = {"calibration": {}, "evaluation": {"image_fpr": 0.6}}
        study = StudyConfig.model_validate(private_study().model_dump() | asked)
        done = train_hospitals(hospitals(anna={"dp_tells": ["histograms"]}), study)
        assert [site.site for site in done.calibration.sites] == ["anna"]
        assert "policy.dp_tells" in done.calibration.absent["berta"]
        anna, berta = model_card(study, done).privacy.sites
        assert anna.outside == ("histograms of scores, and counts of patients above thresholds",)
        assert berta.outside == ()

    def test_all_sites_weigh_alike_whatever_they_count(self, hospitals):
        told = {"dp_tells": ["counts"]}
        done = train_hospitals(hospitals(anna=told, berta=told), private_study())
        assert done.records[0].images == {"anna": 12, "berta": 11}
        assert done.records[0].n_images == 23
        apart = train_hospitals(hospitals(anna=told), private_study())
        assert apart.records[0].answered == ("anna", "berta")

    def test_the_card_has_what_was_paid_for_though_it_never_counted(self, hospitals):
        study = private_study()

        def late(progress):  # the last round of a site is paid for once more, and none of it arrives
            if progress.round == 2 and not progress.closed:
                answered(lambda **_: nodes, order(study, run="run", round=2, start_step=2))

        nodes = hospitals()
        done = train_hospitals(nodes, study, on_round=late)
        anna, berta = model_card(study, done).privacy.sites
        assert (anna.epsilon, berta.epsilon) == (epsilon_of([ROUND] * 3, 1e-5), epsilon_of([ROUND] * 2, 1e-5))

    @pytest.fixture
    def crashing(self, hospitals, ledger):
        """Runs a federation in which a second round of one site is paid for, and lost."""

        def run(study):
            def crash(progress):
                if len(progress.records) == 1:
                    with ledger.opened() as book:
                        spend(book, PolicyConfig(), order(study, round=2, start_step=2), SYSTEM)

            return train_hospitals(hospitals(), study, on_round=crash)

        return run

    @pytest.mark.parametrize(("rounds", "spare", "state"), [(2, 1, "completed"), (3, 0, "degraded")])
    def test_a_run_with_a_target_has_room_for_repeated_rounds(self, crashing, ledger, rounds, spare, state):
        study = private_study(noise_multiplier=None, epsilon=2.0, spare_rounds=spare, federation={"rounds": rounds})
        found = crashing(study)
        assert (found.round, outcome(found).state, found.delivered) == (2, state, ("anna", "berta"))
        assert model_card(study, found).privacy.spare_rounds == spare
        assert epsilon_of([s.releases for s in spendings(ledger)], 1e-5) <= 2.0

    def test_where_a_budget_ends_the_last_model_is_judged_and_delivered(self, crashing, ledger):
        study = private_study(epsilon=epsilon_of([ROUND] * 2, 1e-5), federation={"rounds": 2})
        done = crashing(study)
        void, closing = done.records[1:]
        assert (void.round, void.answered, void.closing) == (2, (), False)
        assert (closing.round, closing.answered, closing.closing) == (2, ("anna", "berta"), True)
        assert outcome(done).reasons == (
            "round 2: anna: reports PrivacyBudgetError",
            "round 2: berta: too few others have privacy left for the round",
        )
        assert (done.delivered, done.best_round) == (("anna", "berta"), 1)
        assert len(spendings(ledger)) == 2
        refused = next(line for line in lines(ledger) if line.kind == "error")
        assert refused.what["withheld"][0].startswith("dp.epsilon: too little is left in this run")
        berta = model_card(study, done).privacy.sites[1]
        assert berta.epsilon == epsilon_of([ROUND] * 2, 1e-5), "what is void was told all the same"

    def test_a_first_round_that_nobody_can_pay_for_leaves_no_model_to_deliver(self, hospitals, ledger):
        study = private_study(epsilon=epsilon_of([ROUND], 1e-5), federation={"rounds": 1})
        with ledger.opened() as book:
            spend(book, PolicyConfig(), order(study), SYSTEM)
        with pytest.raises(QuorumError, match="anna: reports PrivacyBudgetError"):
            train_hospitals(hospitals(), study)


class TestJoining:
    @pytest.mark.usefixtures("begun")
    @pytest.mark.parametrize(
        ("policy", "reason"),
        [
            ({"dp_epsilon": 0.5}, "policy.dp_epsilon: too little is left for 4 releases at a rate of 0.3 with noise 1"),
            ({"dp_epsilon": 100.0, "dp_required": True}, ""),
        ],
    )
    def test_a_study_is_held_against_the_budget(self, hospitals, policy, reason):
        sent = JoinOrder(study=private_study(), run="run", package_hash=package_hash())
        facts = answered(hospitals, sent, "query", **policy).content.config_records["facts"]
        assert facts.get("reason", "") == reason

    def test_an_empty_ledger_is_no_full_budget(self, hospitals, ledger):
        sent, policy = JoinOrder(study=private_study(), run="run", package_hash=package_hash()), {"dp_epsilon": 100.0}
        for _ in range(2):  # the refusal's own line is no beginning
            facts = answered(hospitals, sent, "query", **policy).content.config_records["facts"]
            assert facts["reason"].startswith("policy.dp_epsilon: nobody has said that nothing was spent before")
        assert answered(hospitals, order(private_study()), **policy).error.reason == "ReleaseError at anna"
        assert spendings(ledger) == []
        assert "reason" not in answered(hospitals, sent, "query").content.config_records["facts"]

    @pytest.mark.parametrize("required", [False, True])
    def test_a_budget_refuses_a_study_without_differential_privacy(self, hospitals, required):
        policy = {"dp_epsilon": 1.0, "dp_required": required}
        sent = JoinOrder(study=plain_study(), run="run", package_hash=package_hash())
        facts = answered(hospitals, sent, "query", **policy).content.config_records["facts"]
        key = "dp_required" if required else "dp_epsilon"
        assert facts["reason"] == f"policy.{key}: the study has no differential privacy"
        assert answered(hospitals, order(plain_study()), **policy).error.reason == "ReleaseError at anna"

    def test_a_required_budget_has_to_be_given(self):
        with pytest.raises(ValidationError, match="dp_required without dp_epsilon"):
            PolicyConfig(dp_required=True)

    def test_who_comes_back_after_a_crash_is_let_in_though_not_all_rounds_are_left(self, hospitals, ledger):
        study = private_study(noise_multiplier=None, epsilon=2.0, spare_rounds=0, federation={"rounds": 3})
        with ledger.opened() as book:
            spend(book, PolicyConfig(), order(study), SYSTEM)
        sent = JoinOrder(study=study, run="run", package_hash=package_hash())
        assert "reason" not in answered(hospitals, sent, "query").content.config_records["facts"]

    def test_what_other_runs_have_spent_is_gone(self, ledger):
        study, policy = private_study(), PolicyConfig(dp_epsilon=epsilon_of([ROUND] * 2, 1e-5) * 1.001)
        assert beyond_budget(policy, study, "run", [], Releases(0.3, 1.0, 4)) == []
        with ledger.opened() as book:
            spend(book, policy, order(study, run="another"), SYSTEM)
            assert beyond_budget(policy, study, "run", book.spendings, Releases(0.3, 1.0, 4)) != []

    def test_a_runs_budget_is_of_its_study_alone(self, ledger):
        study = private_study(epsilon=epsilon_of([ROUND] * 2, 1e-5) * 1.001)
        with ledger.opened() as book:
            spend(book, PolicyConfig(), order(private_study(clip_norm=0.4)), SYSTEM)
            assert beyond_budget(PolicyConfig(), study, "run", book.spendings, Releases(0.3, 1.0, 4)) == []
            spend(book, PolicyConfig(), order(study), SYSTEM)
            assert beyond_budget(PolicyConfig(), study, "run", book.spendings, Releases(0.3, 1.0, 4)) != []

    def test_noise_is_found_for_a_target_epsilon(self, ledger):
        study = private_study(noise_multiplier=None, epsilon=2.0, spare_rounds=0, federation={"rounds": 3})
        with ledger.opened() as book:
            found = [spend(book, PolicyConfig(), order(study, round=n, start_step=2 * n - 2), "") for n in (1, 2, 3)]
            assert 1.8 < epsilon_of([spending.releases for spending in found], 1e-5) <= 2.0
            with pytest.raises(PrivacyBudgetError, match=r"dp\.epsilon"):
                spend(book, PolicyConfig(), order(study, round=3, start_step=4), "")

    def test_the_smaller_delta_holds(self, ledger):
        with ledger.opened() as book:
            spend(book, PolicyConfig(), order(private_study(delta=0.5)), "")
            assert book.spendings[0].delta == 1e-5


class TestTheAccount:
    def test_a_crash_between_accounting_and_reply_spends_twice(self, hospitals, ledger, monkeypatch):
        study = private_study()
        with monkeypatch.context() as patch:
            patch.setattr(PrivateSteps, "step", lambda *_: (_ for _ in ()).throw(MemoryError))
            assert answered(hospitals, order(study)).error.reason == "MemoryError at anna"
        reply = RoundReply.from_record(answered(hospitals, order(study)).content)
        assert [spending.releases for spending in spendings(ledger)] == [ROUND, ROUND]
        assert reply.epsilon == epsilon_of([ROUND] * 2, 1e-5)

    def test_a_line_tells_nothing_of_who_was_drawn(self, hospitals, ledger, monkeypatch):
        for drawn in ([], [3]):
            monkeypatch.setattr(PrivateSteps, "drawn", lambda _, drawn=drawn: drawn)
            answered(hospitals, order(private_study()))
        nobody, somebody = (line.what["withheld"] for line in lines(ledger) if line.kind == "round")
        assert nobody == somebody

    def test_a_metric_that_is_not_finite_hinders_nothing_where_it_stays(self, hospitals, ledger, monkeypatch):
        monkeypatch.setattr(rounds, "validation_error", lambda *_: math.nan)
        assert not answered(hospitals, order(private_study())).has_error()
        assert answered(hospitals, order(plain_study())).error.reason == "ReleaseError at anna"
        assert not answered(hospitals, order(plain_study()), metrics="none").has_error()

    def test_no_error_is_computed_that_stays_in_any_case(self, hospitals, ledger, monkeypatch):
        computed = []
        monkeypatch.setattr(rounds, "validation_error", lambda *_: computed.append(1) or 0.5)
        answered(hospitals, order(private_study()))
        assert computed == []
        answered(hospitals, order(private_study()), dp_tells=["metrics"])
        assert computed == [1]

    def test_a_repeated_round_and_another_run_only_add(self, hospitals, ledger):
        study = private_study()
        answers = [RoundReply.from_record(answered(hospitals, order(study)).content) for _ in range(2)]
        answers.append(RoundReply.from_record(answered(hospitals, order(study, run="later")).content))
        once, twice = epsilon_of([ROUND], 1e-5), epsilon_of([ROUND] * 2, 1e-5)
        assert [reply.epsilon for reply in answers] == [once, twice, once]
        assert lines(ledger)[-1].privacy["epsilon_total"] == epsilon_of([ROUND] * 3, 1e-5)

    @pytest.mark.usefixtures("begun")
    def test_a_round_beyond_the_budget_computes_nothing(self, hospitals, ledger, monkeypatch):
        monkeypatch.setattr(PrivateSteps, "step", lambda *_: pytest.fail("a step was taken"))
        sent = answered(hospitals, order(private_study()), dp_epsilon=0.1)
        assert sent.error.reason == "PrivacyBudgetError at anna"
        assert spendings(ledger) == []

    def test_the_closing_exchange_costs_nothing(self, hospitals, ledger):
        reply = RoundReply.from_record(answered(hospitals, order(private_study(), steps=0)).content)
        assert (reply.epsilon, reply.metrics, spendings(ledger)) == (0.0, {}, [])

    def test_an_adversarial_step_counts_its_two_releases(self, ledger):
        study = private_study(method={"channels": [4, 8], "latent": 4, "warmup_steps": 1})
        with ledger.opened() as book:
            spend(book, PolicyConfig(), order(study), "")
            spend(book, PolicyConfig(), order(study, round=2, start_step=2), "")
            assert [spending.releases.times for spending in book.spendings] == [3, 4]

    def test_the_ledger_and_the_report_say_it_in_words(self, hospitals, ledger):
        answered(hospitals, order(private_study()))
        _, first, second = (told(line) for line in lines(ledger))
        assert "spending" in first
        assert "2 releases at a rate of 0.3, noise 1" in first
        assert "epsilon " in second
        config = load_config(hospitals()[0].site_config, SiteConfig)
        with ledger.opened() as book:
            (section,) = [s for s in make_report(book, config, []).sections if s.title == "Privacy"]
        ((*_, epsilon),) = section.rows
        assert float(epsilon) == pytest.approx(epsilon_of([ROUND], 1e-5), rel=1e-3)

    def test_updates_without_it_are_counted_and_leave_no_epsilon_of_all_runs(self, hospitals, ledger):
        for study in (private_study(), plain_study(), private_study()):
            answered(hospitals, order(study))
        totals = [line.privacy["epsilon_total"] for line in lines(ledger) if line.kind == "round" and line.privacy]
        assert totals == [epsilon_of([ROUND], 1e-5), None]
        assert "none of all runs (1 updates without differential privacy)" in told(lines(ledger)[-1])
        config = load_config(hospitals()[0].site_config, SiteConfig)
        with ledger.opened() as book:
            (section,) = [s for s in make_report(book, config, []).sections if s.title == "Privacy"]
        assert section.rows[-1][0] == "all runs"
        assert section.rows[-1][-1] == "none: 1 updates without differential privacy"


@pytest.fixture
def site(hospitals, tmp_path):
    config = load_config(hospitals()[0].site_config, SiteConfig)
    images = open_site(config, private_study().preprocessing, hospitals()[0].data_root, None)
    runtime = Runtime.resolve(config.runtime, "auto")
    return Site(config, images, runtime, tmp_path / "state" / "anna", Seeded())


class TestTheDoor:
    @pytest.fixture
    def let_out(self, site, ledger, tmp_path):
        def send(reply, sent):
            note_joined(ledger, sent)
            InProcessGrid(client_app.app, [])  # a message needs a run
            message = Message(sent.to_record(), dst_node_id=1, message_type="train")
            return release(reply, sent, Door.of(site.config, tmp_path / "state"), message)

        return send

    def test_noise_that_is_not_the_systems_stays(self, site, let_out):
        sent = order(private_study())
        reply = site.answer(sent)
        with pytest.raises(ReleaseError, match="the noise is of a test"):
            let_out(reply, sent)

    def test_an_update_that_nothing_was_spent_for_stays(self, site, let_out, ledger):
        sent = order(private_study())
        reply = site.answer(sent)
        with ledger.opened() as book:  # for another round
            spend(book, PolicyConfig(), order(private_study(), round=2), SYSTEM)
        with pytest.raises(ReleaseError, match="no privacy was spent"):
            let_out(reply, sent)

    def test_an_update_that_another_was_paid_for_stays(self, site, let_out, ledger):
        sent = order(private_study())
        reply = site.answer(sent)
        with ledger.opened() as book:  # for the same round, as by another process
            spend(book, PolicyConfig(), sent, SYSTEM)
        with pytest.raises(ReleaseError, match="no privacy was spent for this update"):
            let_out(reply, sent)

    def test_what_is_paid_for_leaves_once(self, site, let_out, ledger):
        sent = order(private_study())
        site.randomness = Randomness()
        note_joined(ledger, sent)
        reply = site.answer(sent)
        found = RoundReply.from_record(let_out(reply, sent).content)
        assert (found.noise_multiplier, found.spending) == (1.0, 2)
        with pytest.raises(ReleaseError, match="no privacy was spent"):
            let_out(reply, sent)


class TestWhatLeaves:
    """The update itself, of plain gradient descent, so that it is the noisy sum but for two factors."""

    BATCH, RATE = SETTINGS["training"]["batch_size"], 1e-3

    @pytest.fixture(autouse=True)
    def plain(self, monkeypatch):
        def plain_descent(method):
            return {name: SGD(part.parameters()) for name, part in method.shared_parts().items()}

        for method in (VAE, RA):
            monkeypatch.setattr(method, "optimizers", plain_descent)

    def sum_of(self, site, study, *parts):
        """The noisy sum that an update of one step tells, of all parts or of some."""
        update = site.answer(order(study, steps=1)).update
        found = [decode(codes).ravel() for name, codes in update.items() if name.startswith(parts or "")]
        return np.concatenate(found) * -self.BATCH / self.RATE

    @pytest.mark.parametrize(("noise", "clip"), [(1.0, 1.0), (3.0, 1.0), (2.0, 5.0)])
    def test_its_noise_is_the_declared_one(self, site, noise, clip):
        found = self.sum_of(site, private_study(noise_multiplier=noise, clip_norm=clip, sampling_rate=1e-9))
        assert found.std() == pytest.approx(noise * clip, rel=0.02)
        assert abs(found.mean()) < 5 * noise * clip / np.sqrt(found.size)

    @pytest.mark.parametrize("part", ["encoder", "decoder"])
    def test_its_noise_is_the_declared_one_in_each_part_of_an_adversarial_step(self, site, part):
        method = {"channels": [4, 8], "latent": 4, "warmup_steps": 0, "learning_rate": self.RATE}
        found = self.sum_of(site, private_study(method=method, sampling_rate=1e-9, noise_multiplier=3.0), part)
        assert found.std() == pytest.approx(3.0 * 0.5, rel=0.03)

    @pytest.mark.parametrize("clip", [0.05, 0.2])
    def test_a_patient_adds_no_more_than_the_declared_norm(self, site, monkeypatch, clip):
        study = private_study(noise_multiplier=1e-6, clip_norm=clip)
        monkeypatch.setattr(PrivateSteps, "drawn", lambda _: [3])
        # What rounds to multiples of 2^-24 is 0.24 of a unit in the sum's scale, on each of some thousand weights.
        grid = 2.0**-24 * self.BATCH / self.RATE
        found = self.sum_of(site, study)
        assert np.linalg.norm(found) <= clip * (1 + 1e-3) + grid * np.sqrt(found.size)

    def test_a_patient_with_many_images_is_one(self, site, monkeypatch):
        rows = site.images.train.rows
        site.images.train.rows = (*(replace(row, patient_id="one") for row in rows[:9]), *rows[9:])
        monkeypatch.setattr(site.randomness, "uniform", lambda *shape: np.zeros(shape))  # all are drawn
        looked_at = []
        images = site.images.train.images
        monkeypatch.setattr(site.images.train, "images", lambda found: looked_at.extend(found) or images(found))
        site.answer(order(private_study(), steps=1))
        assert len(looked_at) == 4
        assert sum(index < 9 for index in looked_at) == 1
