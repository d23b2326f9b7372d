"""Federations with secure aggregation, of real sites in one process."""

import json
from typing import ClassVar

import numpy as np
import pytest
from federating import Told, first_model, train_hospitals
from flwr.app import Error, Message, RecordDict
from hospitals import model_digest
from summing import FEW_TENSORS, NAMES, between, pins_of, plain, secure, secure_hospitals, silent, write_keyring

from client.ledger.book import Ledger
from client.spending import spend
from ra_core.config import PolicyConfig, StudyConfig
from ra_core.errors import MaskingError, QuorumError
from ra_core.fixed_point import RESOLUTION
from ra_core.installed import package_hash
from ra_core.messages import RoundOrder, arrays
from ra_core.messages.wire import numpy_arrays
from ra_core.privacy.accounting import Releases, epsilon_of
from server.rounds.account import Account
from server.rounds.card import model_card
from server.rounds.masked_fold import MaskedFold
from server.rounds.masked_rounds import LEFT_ALONE
from server.rounds.once import Once
from server.rounds.outcome import outcome
from server.rounds.progress import Progress

pytestmark = pytest.mark.slow

ONCE = {"rounds": 1, "local_steps": 3, "quorum": 0.75}
"""One round is enough: the closing exchange is the second masked one."""

DP = {"noise_multiplier": 1.0, "sampling_rate": 0.3, "clip_norm": 0.5, "delta": 1e-5}


def private(*metrics, dp=(), **federation):
    found = secure(**ONCE | federation, agreed={"metrics": metrics}).model_dump()
    return StudyConfig.model_validate(found | {"dp": DP | dict(dp), "method": FEW_TENSORS})


@pytest.fixture
def hospitals(site_root, tmp_path):
    return secure_hospitals(site_root, tmp_path)


@pytest.fixture(scope="module")
def unmasked(site_root, tmp_path_factory):
    """Hashes of the model without masks: of all sites, and of all but dora."""

    def run(app):
        hospitals = secure_hospitals(site_root, tmp_path_factory.mktemp("unmasked"))
        return train_hospitals(hospitals, plain(**ONCE), app=app)

    return {"all": run(silent()), "without dora": run(silent(dora="train"))}


def lines(tmp_path, site="anna"):
    """What has left: without the statement that each ledger begins with."""
    with Ledger.of(tmp_path / "state", site).opened() as opened:
        return [line for line in opened.lines() if line.kind != "begin"]


class TestTheModel:
    def test_it_has_the_bits_of_plain_aggregation(self, hospitals, tmp_path, unmasked):
        done = train_hospitals(hospitals, secure(**ONCE))
        assert model_digest(done.model) == model_digest(unmasked["all"].model)
        assert [record.answered for record in done.records] == [NAMES] * 2
        assert done.delivered == NAMES
        for record, known in zip(done.records, unmasked["all"].records, strict=True):
            assert record.n_images == known.n_images
            assert record.validation_error == pytest.approx(known.validation_error, abs=RESOLUTION)

    @pytest.mark.parametrize("stage", ["announce", "deal", "mask"])
    def test_who_drops_out_before_its_figures_came_is_left_out(self, hospitals, unmasked, stage):
        done = train_hospitals(hospitals, secure(**ONCE), app=silent(dora=stage))
        assert model_digest(done.model) == model_digest(unmasked["without dora"].model)
        assert done.records[0].missing == {"dora": f"{stage}: reports its connection was lost"}

    @pytest.mark.parametrize("stage", ["confirm", "reveal"])
    def test_who_drops_out_after_that_counts(self, hospitals, unmasked, stage):
        told = Told()
        done = train_hospitals(hospitals, secure(**ONCE), app=silent(dora=stage), tell=told)
        assert model_digest(done.model) == model_digest(unmasked["all"].model)
        assert done.records[0].missing == {}
        assert {event["site"] for event in told.of("silent")} == {"dora"}

    def test_one_can_drop_out_at_each_of_two_stages_down_to_the_threshold(self, site_root, tmp_path):
        five = secure_hospitals(site_root, tmp_path, (*NAMES, "emil"))
        done = train_hospitals(five, secure(**ONCE | {"quorum": 0.8}), app=silent(dora="mask", emil="confirm"))
        assert done.records[0].answered == ("anna", "berta", "clara", "emil")


class TestTheNorm:
    """In place of each site's: sites shorten their own, and no mean of such is longer."""

    SHORT: ClassVar = ONCE | {"clip_update_norm": 0.01}

    def test_sites_shorten_their_updates_by_themselves(self, hospitals, site_root, tmp_path):
        done = train_hospitals(hospitals, secure(**self.SHORT))
        others = secure_hospitals(site_root, tmp_path / "plain")
        known = train_hospitals(others, plain(**self.SHORT))
        assert model_digest(done.model) == model_digest(known.model)

    def test_a_mean_that_is_too_long_is_not_taken(self, hospitals, monkeypatch):
        monkeypatch.setattr("client.policy.clipped", lambda update, _: update)
        with pytest.raises(MaskingError, match="some site didn't shorten its own"):
            train_hospitals(hospitals, secure(**self.SHORT))


class TestTooFew:
    @pytest.mark.parametrize("stage", ["announce", "deal"])
    def test_before_any_figures_the_round_can_be_made_again(self, hospitals, tmp_path, stage):
        begun = []
        study, gone = secure(**ONCE), silent(dora=stage, clara=stage)
        with pytest.raises(QuorumError, match=r"2 of 4 sites are left, 3 are needed .*clara: .*dora: "):
            train_hospitals(hospitals, study, app=gone, on_masking=begun.append)
        assert begun == []
        assert train_hospitals(hospitals, study).records[0].answered == NAMES

    @pytest.mark.parametrize("stage", ["mask", "confirm", "reveal"])
    def test_after_that_the_run_ends_and_the_sites_give_nothing_again(self, hospitals, tmp_path, stage):
        begun, progress = [], Progress(first_model(secure(**ONCE)))
        with pytest.raises(MaskingError, match="nothing was opened") as raised:
            train_hospitals(
                hospitals,
                secure(**ONCE),
                app=silent(dora=stage, clara=stage),
                on_masking=begun.append,
                progress=progress,
            )
        assert "another seed" in raised.value.hint
        assert begun == [1]
        assert progress.unfinished.asked == NAMES
        with pytest.raises(QuorumError, match="anna: its policy refuses: seed: figures with seed 0 have left under"):
            train_hospitals(hospitals, secure(**ONCE, join_seconds=2.0), run="another")
        with pytest.raises(QuorumError, match=r"anna: announce: reports ReleaseError"):
            train_hospitals(hospitals, secure(**ONCE))
        assert "up to step 3 have left under masks in this run" in lines(tmp_path)[-1].what["withheld"][0]
        anew = secure(**ONCE).model_copy(update={"seed": 1})
        assert train_hospitals(hospitals, anew, run="another").records[0].answered == NAMES

    def test_a_sum_of_fewer_sites_than_the_quorum_is_not_opened(self, hospitals):
        with pytest.raises(MaskingError, match="3 of 4 sites are left, 4 are needed"):
            train_hospitals(hospitals, secure(**ONCE | {"quorum": 1.0}), app=silent(dora="mask"))

    def test_two_sites_are_too_few_to_begin(self, hospitals):
        with pytest.raises(MaskingError, match="2 sites are too few"):
            train_hospitals(hospitals[:2], secure(**ONCE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("learns")


@pytest.fixture(scope="module")
def seen():
    """Every answer that reaches the server, by site and stage."""
    return {}


@pytest.fixture(scope="module")
def done(site_root, folder, seen):
    def meddle(site, stage, message, answer):
        sent = answer()
        seen.setdefault((site, stage), sent.content)
        return sent

    return train_hospitals(secure_hospitals(site_root, folder), secure(**ONCE), app=between(meddle))


class TestWhatTheServerLearns:
    def test_no_single_count_and_no_single_metric(self, done, tmp_path):
        assert all(reply.n_images == reply.n_used == reply.n_val_patients == 0 for reply in done.joined.values())
        assert all(record.by_site == record.images == record.files == {} for record in done.records)
        assert done.records[0].totals["n_images"] == done.records[0].n_images > 0
        assert done.records[0].means == {"validation_error": done.records[0].validation_error}
        Account(tmp_path, "run", secure(**ONCE), NAMES, "").write(done)
        told = json.loads((tmp_path / "run.json").read_text())["rounds"][0]
        assert (told["metrics"], told["files"], told["reasons"]) == ({}, {}, {})
        assert told["means"].keys() == {"validation_error"}
        card = model_card(secure(**ONCE), done)
        assert {site.train_images for site in card.data} == {0}
        assert [row["test_site"] for row in card.metrics] == ["all sites together"]

    def test_a_vector_looks_random_and_holds_no_update(self, done, seen):
        content = seen["anna", "mask"]
        assert isinstance(content, RecordDict)
        assert set(content) == {"facts", "masked"}
        assert not {"n_images", "metrics", "update"} & set(content["facts"])
        words = numpy_arrays(content, "masked", np.dtype(np.uint64))["vector"]
        assert abs(np.unpackbits(words.view(np.uint8)).mean() - 0.5) < 0.01

    def test_the_ledger_says_what_was_under_the_masks_and_holds_no_share(self, done, seen, folder):
        found = lines(folder)
        stages = ["announce", "deal", "masked", "confirm", "reveal"]
        assert [line.kind for line in found] == [
            "join",
            *stages,
            *("masked_closing" if stage == "masked" else stage for stage in stages),
            "delivery",
        ]
        masked = found[3].what
        assert masked["facts"]["n_images"] == 12
        assert masked["metrics"].keys() == {"validation_error"}
        assert masked["norm"] > 0
        assert len(masked["facts"]["said"]["vector"]) == 44
        assert masked["bytes"] > numpy_arrays(seen["anna", "mask"], "masked", np.dtype(np.uint64))["vector"].nbytes
        revealed = json.loads(seen["anna", "reveal"]["facts"]["message"])
        assert found[5].what["facts"]["said"]["seeds"] == sorted(revealed["seeds"]) == list(NAMES)
        ledger = Ledger.of(folder / "state", "anna").file.read_text()
        assert not any(share in ledger for share in revealed["seeds"].values())

    def test_a_site_keeps_no_secret_of_a_round_that_is_over(self, done, folder):
        assert not list(folder.rglob("masking.json"))

    def test_nor_where_it_was_not_asked_to_the_end(self, hospitals, tmp_path):
        """Dora's last message of the closing exchange is lost on its way to her, and so she has not revealed."""
        train_hospitals(hospitals, secure(**ONCE), app=silent(dora="reveal"))
        assert not list(tmp_path.rglob("masking.json"))


class TestDisagreement:
    def test_a_site_that_knows_another_by_another_key_is_not_let_in(self, hospitals, tmp_path):
        write_keyring(hospitals[3], tmp_path, pins_of(tmp_path) | {"berta": "SHA256:" + 43 * "A"})
        study = secure(**ONCE, join_seconds=2.0)
        done = train_hospitals(hospitals, study)
        assert done.records[0].missing == {
            "dora": "knows 'berta' by another signing key than 'anna' does: compare fingerprints"
        }

    def test_a_site_that_knows_other_sites_is_not_let_in(self, hospitals, tmp_path):
        pins = {("emil" if name == "anna" else name): pin for name, pin in pins_of(tmp_path).items()}
        write_keyring(hospitals[3], tmp_path, pins)
        done = train_hospitals(hospitals, secure(**ONCE, join_seconds=2.0))
        assert done.records[0].missing["dora"] == "its secure_aggregation.sites has no fingerprint of anna"

    def test_a_run_without_a_site_that_the_others_list_says_what_is_in_the_way(self, hospitals):
        """As after a withdrawal, or with --sites: the list has everything that is asked for, and one more."""
        with pytest.raises(QuorumError, match=r"sites lists dora too, which this run doesn't have"):
            train_hospitals(hospitals[:3], secure(**ONCE, join_seconds=2.0))

    def test_a_site_whose_key_was_swapped_by_the_server_is_found_out(self, hospitals, tmp_path):
        """The server puts a key of its own in berta's place: each other site names berta, and gives nothing."""

        def meddle(site, stage, message, answer):
            if stage == "deal":
                relayed = numpy_arrays(message.content, "relayed", np.dtype(np.uint8))
                forged = json.loads(relayed["berta"].tobytes()) | {"identity": 43 * "A" + "="}
                relayed["berta"] = np.frombuffer(json.dumps(forged).encode(), np.uint8)
                message.content["relayed"] = arrays(relayed)
            return answer()

        with pytest.raises(QuorumError, match="anna: deal: reports MaskingError and blames 'berta'"):
            train_hospitals(hospitals, secure(**ONCE), app=between(meddle))
        assert "is not the pinned one" in lines(tmp_path)[-1].what["withheld"][0]

    @pytest.mark.parametrize("study", [secure(**ONCE), private(**ONCE)], ids=["plain", "private"])
    def test_a_site_that_is_sent_another_model_gives_nothing(self, hospitals, tmp_path, study):
        """Else a server could empty the others' updates, and the sum would be one site's.

        The model that arrives can't be trained on: a site that tried would report that instead, its privacy spent.
        """

        def meddle(site, stage, message, answer):
            if stage == "mask" and site == "dora":
                model = numpy_arrays(message.content, "model", np.dtype(np.float32))
                model[next(iter(model))] += np.float32(np.inf)
                message.content["model"] = arrays(model)
            return answer()

        done = train_hospitals(hospitals, study, app=between(meddle))
        assert done.records[0].missing == {"dora": "mask: reports MaskingError"}
        assert "spending" not in {line.kind for line in lines(tmp_path, "dora")}

    def test_a_site_that_alters_its_vector_is_named(self, hospitals):
        def meddle(site, stage, message, answer):
            sent = answer()
            if stage == "mask" and site == "dora":
                masked = numpy_arrays(sent.content, "masked", np.dtype(np.uint64))
                sent.content["masked"] = arrays({"vector": masked["vector"] + np.uint64(1)})
            return sent

        done = train_hospitals(hospitals, secure(**ONCE), app=between(meddle))
        assert "'dora' are not those that it has signed" in done.records[0].missing["dora"]

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda facts: facts["message"][:-1], "a Announcement can't be read"),
            (
                lambda facts: facts["message"].replace('"site":"dora"', '"site":"anna"'),
                "a message of 'anna' for its own",
            ),
            (lambda facts: facts["message"].replace('"round":1', '"round":2'), "is of another run or round"),
        ],
        ids=["half", "another site's", "another round's"],
    )
    def test_a_message_that_is_none_falls_out_with_its_site(self, hospitals, change, reason):
        def meddle(site, stage, message, answer):
            sent = answer()
            if stage == "announce" and site == "dora":
                sent.content["facts"]["message"] = change(sent.content["facts"])
            return sent

        told = Told()
        with pytest.raises(QuorumError, match="3 of 4 sites are left, 4 are needed"):
            train_hospitals(hospitals, secure(**ONCE | {"quorum": 1.0}), app=between(meddle), tell=told)
        (event,) = told.of("rejected")
        assert (event["site"], reason in event["reason"]) == ("dora", True), event["reason"]

    def test_announcements_that_are_of_no_use_end_no_round_for_good(self, hospitals, tmp_path, monkeypatch):
        """Such as keys that stand elsewhere too: no figures were asked for, so the round can be made again."""
        asked = []

        def of_no_use(fold):
            raise MaskingError("2 of 4 sites have announced keys")

        monkeypatch.setattr(MaskedFold, "_enrol", of_no_use)
        with pytest.raises(QuorumError, match=r"round 1: 2 of 4 sites have announced keys") as raised:
            train_hospitals(hospitals, secure(**ONCE), on_masking=asked.append)
        assert "goes on from the last checkpoint" in raised.value.hint
        assert asked == []


class TestARunThatWasBrokenOff:
    def test_it_ends_with_a_plain_error_where_figures_were_asked_for(self, tmp_path):
        once = Once(tmp_path)
        once.require(Progress({}))
        once.note(2)
        once.require(Progress({}, round=2))
        with pytest.raises(MaskingError, match=r"round 2 .* was broken off"):
            once.require(Progress({}, round=1))

    def test_a_damaged_note_is_no_leave_to_go_on(self, tmp_path):
        Once(tmp_path).note(1)
        (tmp_path / "masked.json").write_text("{")
        with pytest.raises(MaskingError, match="damaged"):
            Once(tmp_path).require(Progress({}))


TWO_ROUNDS = private(rounds=2, local_steps=2, dp={"epsilon": epsilon_of([Releases(0.3, 1.0, 4)], 1e-5)})
"""Its budget lasts for two rounds."""


def later(study):
    """The second round's order."""
    facts = {"run": "run", "package_hash": package_hash(), "round": 2, "base_round": 0, "best_round": 0}
    return RoundOrder(study=study, model={}, start_step=2, steps=2, proximal_mu=0.0, **facts)


class TestDifferentialPrivacy:
    @pytest.fixture
    def ending(self, hospitals, tmp_path):
        """Runs a federation in which some sites' privacy of round 2 is paid for, and lost."""

        def run(study, sites, **more):
            def crash(progress):
                if len(progress.records) == 1:
                    for site in sites:
                        with Ledger.of(tmp_path / "state", site).opened() as book:
                            spend(book, PolicyConfig(), later(study), "operating system")

            return train_hospitals(hospitals, study, on_round=crash, **more)

        return run

    def test_where_a_budget_ends_the_last_model_is_judged_and_delivered(self, ending, tmp_path):
        begun = []
        done = ending(TWO_ROUNDS, ("anna", "berta"), on_masking=begun.append)
        void, closing = done.records[1:]
        assert (void.round, void.answered, closing.answered, closing.closing) == (2, (), NAMES, True)
        assert outcome(done).reasons == tuple(
            f"round 2: {name}: {'announce: reports PrivacyBudgetError' if name in ('anna', 'berta') else LEFT_ALONE}"
            for name in NAMES
        )
        assert (done.delivered, done.best_round, begun) == (NAMES, 1, [1, 2])
        kinds = [line.kind for line in lines(tmp_path, "clara")]
        assert kinds.count("spending") == 1, "nobody pays for a round that is lost"

    def test_where_one_has_spent_its_budget_the_others_go_on(self, ending):
        done = ending(TWO_ROUNDS, ("anna",))
        assert [record.answered for record in done.records] == [NAMES, NAMES[1:], NAMES]
        assert done.records[1].missing == {"anna": "announce: reports PrivacyBudgetError"}

    def test_where_others_are_missing_too_the_run_can_go_on(self, ending):
        def meddle(site, stage, message, answer):
            lost = site in ("clara", "dora") and stage == "deal" and message.content["order"]["round"] == 2
            return Message(Error(code=2, reason="lost"), reply_to=message) if lost else answer()

        with pytest.raises(QuorumError, match="round 2: 1 of 4 sites are left, 3 are needed"):
            ending(TWO_ROUNDS, ("anna",), app=between(meddle))

    def test_all_weigh_alike_no_count_is_in_the_sum_and_what_was_spent_is_told(self, hospitals, tmp_path):
        done = train_hospitals(hospitals, private())
        (record, closing) = done.records
        assert (record.answered, record.totals, record.means, record.n_images) == (NAMES, {}, {}, 0)
        assert record.privacy.keys() == set(NAMES)
        assert all(epsilon > 0 for epsilon, _, _ in record.privacy.values())
        assert closing.privacy == record.privacy  # what the run has spent, told once more
        assert done.best_round == 1  # without errors the latest model is taken
        assert [line.kind for line in lines(tmp_path)][3:5] == ["spending", "masked"]

    def test_no_metric_leaves_that_a_policy_keeps_back(self, hospitals):
        with pytest.raises(QuorumError, match=r"policy\.dp_tells doesn't let out validation_error"):
            train_hospitals(hospitals, private("validation_error"), deadline=2.0)
