"""Who asks for too much is stopped at the site, and the ledger proves it: server, study, researcher, app bundle."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from federating import answer_of, first_model
from hospitals import model_digest, tiny_federation, write_hospitals
from pydantic import ValidationError

from client.histograms.answers import Scores
from client.ledger.book import Ledger
from client.ledger.line import Line
from client.ledger.listing import told
from client.member.told import line as in_words
from ra_core.clipping import update_norm
from ra_core.config import CalibrationConfig, RuntimeConfig, StudyConfig
from ra_core.data.site_images import is_kept_back, sets_thresholds
from ra_core.installed import package_hash
from ra_core.messages import (
    SITE_FAILED,
    CheckOrder,
    CheckReply,
    DeliveryOrder,
    HistogramOrder,
    HistogramReply,
    JoinOrder,
    JoinRefusal,
    JoinReply,
    MaskedOrder,
    RoundOrder,
    RoundReply,
    StageOrder,
)
from ra_core.site_scorer import SiteScorer
from ra_core.thresholds import EDGES
from server.rounds.card import model_card
from server.rounds.progress import Progress

POLICY = {
    "parts": ["encoder"],
    "clip_update_norm": 0.01,
    "metrics": ["validation_error"],
    "min_patients": 2,
    "rounds_total": 3,
}


class Hospital:
    """One site with a policy: what it answers, and what its ledger says of that."""

    def __init__(self, site_root, folder, **policy):
        (node,) = write_hospitals(site_root, folder, ("anna",), {"anna": POLICY | policy})
        self.settings, self.state = node.settings(RuntimeConfig(threads=1)), node.state
        self.ledger = Ledger.of(self.state, "anna")

    def answer(self, order, kind="train", run_config=None):
        return answer_of(self.settings, order, kind, run_config)

    def lines(self):
        """Of a chain that has been checked."""
        with self.ledger.opened() as book:
            return list(book.lines())

    def without_images(self):
        """From now on, whoever wants an image fails."""
        self.settings |= {"data-root": "/nowhere"}


@pytest.fixture
def hospital(site_root, tmp_path):
    return Hospital(site_root, tmp_path)


def study(**federation):
    return tiny_federation(**{"parts": ["encoder"]} | federation)


def join(found, run="run"):
    return JoinOrder(study=found, run=run, package_hash=package_hash())


def training(found, **changes):
    counts = {"round": 1, "base_round": 0, "best_round": 0, "start_step": 0, "steps": 2, "proximal_mu": 0.0}
    names = {"study": found, "run": "run", "package_hash": package_hash()}
    return RoundOrder(**names | counts | {"model": first_model(found)} | changes)


OVERBROAD = {
    "all parts of the model": ({"parts": None}, "policy.parts doesn't let out decoder"),
    "more rounds than the site gives": ({"rounds": 4}, "policy.rounds_total leaves 3 updates, and 4 are asked for"),
}


@pytest.mark.parametrize("name", OVERBROAD)
def test_an_overbroad_study_is_refused_at_joining_with_a_line_and_no_image_is_opened_for_it(hospital, name):
    hospital.without_images()
    changes, reason = OVERBROAD[name]
    refusal = JoinRefusal.from_record(hospital.answer(join(study(**changes)), "query").content)
    assert reason in refusal.reason
    (line,) = hospital.lines()
    assert (line.kind, line.what["facts"]["reason"]) == ("refusal", refusal.reason)
    assert not line.what.get("tensors")
    assert not any(name.startswith("n_") for name in line.what["facts"])  # no count of the site left with it


def test_a_server_that_skips_joining_gets_nothing_and_no_image_is_opened_for_it(hospital):
    hospital.without_images()
    sent = hospital.answer(training(study(parts=None)))
    assert (sent.error.code, sent.error.reason) == (SITE_FAILED, "ReleaseError at anna")
    (line,) = hospital.lines()
    assert line.kind == "error"
    assert "policy.parts doesn't let out decoder" in line.what["withheld"][0]


def orders(found):
    """One of each kind that holds a model or belongs to a round, with the type of its message."""
    names = {"study": found, "run": "run", "package_hash": package_hash()}
    counts = {"round": 1, "base_round": 0, "best_round": 0, "start_step": 0, "steps": 2, "proximal_mu": 0.0}
    model = first_model(found)
    stage = {"stage": "announce", "round": 1, "start_step": 0, "steps": 2, "task": "a" * 64, "relayed": {}}
    delivery = {"base_round": 0, "card": "{}", "model_hash": model_digest(model)}
    return {
        "round": (RoundOrder(model=model, **names | counts), "train"),
        "closing": (RoundOrder(model=model, **names | counts | {"steps": 0}), "train"),
        "masked": (MaskedOrder(model=model, dealings={}, **names | counts), "train.masked"),
        "stage": (StageOrder(**names | stage), "query.stage"),
        "histogram": (HistogramOrder(model=model, base_round=0, **names), "query.histogram"),
        "check": (CheckOrder(model=model, base_round=0, local=0, pooled=1, shrunken=2, **names), "query.check"),
        "delivery": (DeliveryOrder(model=model, **names | delivery), "query.deliver"),
    }


@pytest.mark.parametrize("kind", ["round", "closing", "masked", "stage", "histogram", "check", "delivery"])
@pytest.mark.parametrize("refused", [False, True], ids=["never asked", "refused"])
def test_a_run_that_the_hospital_has_not_joined_gets_nothing_of_it(site_root, tmp_path, kind, refused):
    """What only joining looks at, here the number of validation patients, would else be passed by."""
    hospital = Hospital(site_root, tmp_path, rounds_total=None, min_count=6)
    if refused:
        reply = JoinRefusal.from_record(hospital.answer(join(study()), "query").content)
        assert "n_val_patients is smaller" in reply.reason
    hospital.without_images()
    order, message = orders(study())[kind]
    sent = hospital.answer(order, message)
    assert sent.error.reason == "ReleaseError at anna"
    assert "run: this site hasn't joined it" in hospital.lines()[-1].what["withheld"][0]
    assert not list(hospital.state.rglob("models")), "nothing is stored for it"


def test_a_run_that_the_hospital_has_joined_is_worked_on(hospital):
    """So that it would have been told above, had an image been wanted."""
    hospital.answer(join(study()), "query")
    hospital.without_images()
    assert hospital.answer(training(study())).error.reason == "DataError at anna"


def test_a_server_that_asks_for_round_after_round_gets_what_was_agreed_and_no_more(hospital):
    """Each time under another name, so that no run has more than its share."""
    once = study(rounds=1)
    for number in range(3):
        hospital.answer(join(once, f"run {number}"), "query")
        assert hospital.answer(training(once, run=f"run {number}")).has_content()
    refusal = JoinRefusal.from_record(hospital.answer(join(once, "run 3"), "query").content)
    for number in (2, 3):
        assert hospital.answer(training(once, run=f"run {number}")).error.reason == "ReleaseError at anna"
        assert "policy.rounds_total leaves 0 updates" in hospital.lines()[-1].what["withheld"][0]
    assert "policy.rounds_total leaves 0 updates" in refusal.reason
    assert [line.kind for line in hospital.lines()] == ["join", "round"] * 3 + ["refusal"] + ["error"] * 2


def slow(steps):
    """A study whose steps after the first so many move next to nothing, so that they hide nothing either."""
    method = {"name": "ra", "channels": [4, 8], "latent": 4, "warmup_steps": steps, "learning_rate": 1e-30}
    return StudyConfig.model_validate(study(local_steps=4).model_dump() | {"method": method})


def test_steps_that_move_nothing_draw_no_images_for_a_site_that_wants_many(site_root, tmp_path):
    """Three of four steps of the first round at a rate of 1e-30: the update would be the first step's."""
    batch = slow(1).training.batch_size
    hospital = Hospital(site_root, tmp_path, min_images_drawn=4 * batch)
    refusal = JoinRefusal.from_record(hospital.answer(join(slow(1)), "query").content)
    reason = f"policy.min_images_drawn: a round of 4 steps on {batch} images, 3 of them at next to no learning rate,"
    assert refusal.reason == f"{reason} draws fewer"


def test_a_server_that_begins_a_round_elsewhere_than_its_study_gets_no_single_step(site_root, tmp_path):
    """Each round of the study has steps alike; one that begins at another step has one that counts."""
    batch = slow(4).training.batch_size
    hospital = Hospital(site_root, tmp_path, min_images_drawn=4 * batch)
    assert JoinReply.from_record(hospital.answer(join(slow(4)), "query").content).site == "anna"
    hospital.without_images()
    sent = hospital.answer(training(slow(4), start_step=3, steps=4))
    assert "3 of them at next to no learning rate, draws fewer" in why_not(hospital, sent.error)[1]
    assert hospital.answer(training(slow(4), steps=4)).error.reason == "DataError at anna"


def asking():
    return study(parts=None).model_copy(update={"calibration": CalibrationConfig()})


def scores_of(hospital, kind, **changes):
    """What comes of an order for scores: a reply, or an error as it leaves."""
    facts = {"study": asking(), "run": "run", "package_hash": package_hash(), "base_round": 0}
    places = {"local": 0, "pooled": 1, "shrunken": 2} if kind == "check" else {}
    order = (CheckOrder if places else HistogramOrder)(**facts | places | {"model": first_model(asking())} | changes)
    sent = hospital.answer(order, f"query.{kind}")
    return sent.error if sent.has_error() else (CheckReply if places else HistogramReply).from_record(sent.content)


def why_not(hospital, error):
    """The error as the server has it, and as the hospital's ledger does."""
    return error.reason, hospital.lines()[-1].what["withheld"][0]


@pytest.mark.parametrize("kind", ["histogram", "check"])
def test_scores_of_a_hospital_that_gives_none_stay_whatever_a_server_asks(site_root, tmp_path, kind):
    hospital = Hospital(site_root, tmp_path, histograms="none", rounds_total=None, parts=None)
    hospital.answer(join(asking()), "query")
    reply = scores_of(hospital, kind)
    assert reply.n == 0
    assert not any(found.cells for found in reply.histograms.values())
    assert "policy.histograms" in reply.withheld
    line = hospital.lines()[-1]
    assert line.kind == kind
    assert line.what["facts"]["histograms"] == {}


@pytest.mark.parametrize("kind", ["histogram", "check"])
def test_scores_of_a_hospital_with_few_patients_in_training_stay(site_root, tmp_path, kind):
    hospital = Hospital(site_root, tmp_path, rounds_total=None, parts=None)
    hospital.answer(join(asking()), "query")
    config = yaml.safe_load(Path(hospital.settings["site-config"]).read_text())
    config["policy"]["min_patients"] = 100  # since it has joined
    Path(hospital.settings["site-config"]).write_text(yaml.safe_dump(config))
    reply = scores_of(hospital, kind)
    assert (reply.n, any(found.cells for found in reply.histograms.values())) == (0, False)
    assert "policy.min_patients" in reply.withheld


@pytest.mark.parametrize("kind", ["histogram", "check"])
def test_scores_of_few_patients_are_not_looked_at(site_root, tmp_path, monkeypatch, kind):
    """A server chooses by the model which scores can't be told, and would learn of one patient by another reason."""
    hospital = Hospital(site_root, tmp_path, histograms="all", min_cell=50, rounds_total=None, parts=None)
    hospital.answer(join(asking()), "query")
    monkeypatch.setattr(Scores, "of", lambda *_: pytest.fail("they are scored"))
    reply = scores_of(hospital, kind)
    told = [reply.withheld, *([reply.withheld_test] if kind == "check" else [])]
    assert told == ["it has fewer patients than its policy lets out (policy.min_count, policy.min_cell)"] * len(told)


@pytest.mark.parametrize("score", [np.nan, np.inf, 1e9])
def test_a_score_out_of_range_is_the_highest_there_is(site_root, tmp_path, monkeypatch, score):
    """An error in its place would tell the server that a patient has it."""
    hospital = Hospital(site_root, tmp_path, histograms="all", rounds_total=None, parts=None)
    hospital.answer(join(asking()), "query")

    def scored(scorer, x):
        found = true(scorer, x)
        for scores in found.values():
            scores[0] = score
        return found

    true = SiteScorer.scores
    monkeypatch.setattr(SiteScorer, "scores", scored)
    reply = scores_of(hospital, "histogram")
    assert (reply.withheld, reply.scores.highest()[-1]) == ("", EDGES[-1])
    assert isinstance(scores_of(hospital, "check"), CheckReply)


def test_a_model_that_overflows_on_an_image_tells_nothing_of_whose_it_is(site_root, tmp_path):
    hospital = Hospital(site_root, tmp_path, histograms="all", rounds_total=None, parts=None)
    hospital.answer(join(asking()), "query")
    model = {
        name: np.sign(array).astype(np.float32) * np.float32(1e30) if array.ndim == 4 else array
        for name, array in first_model(asking()).items()
    }
    reply = scores_of(hospital, "histogram", model=model)
    assert (reply.withheld, reply.scores.highest()[-1]) == ("", EDGES[-1])
    assert isinstance(scores_of(hospital, "check", model=model), CheckReply)


@pytest.mark.parametrize("kind", ["histogram", "check"])
def test_scores_are_told_of_one_model_a_run_that_the_hospital_has_joined(site_root, tmp_path, kind):
    """A server that changes the last bit of a weight, or a threshold, or a run's name, learns nothing more."""
    hospital = Hospital(site_root, tmp_path, rounds_total=None, parts=None)
    refused = ("ReleaseError at anna", "run: this site hasn't joined it")
    assert why_not(hospital, scores_of(hospital, kind)) == refused
    for run in ("run", "next"):
        hospital.answer(JoinOrder(study=asking(), run=run, package_hash=package_hash()), "query")
        for _ in range(2):  # the same again tells nothing new
            assert scores_of(hospital, kind, run=run).site == "anna"
    other = first_model(asking())
    name = next(iter(other))
    other[name] = np.nextafter(other[name], np.float32(1))
    refused = (refused[0], "run: counts of scores above other thresholds have left in it")
    if kind == "histogram":
        refused = (refused[0], "run: counts of scores of another model have left in it")
    assert why_not(hospital, scores_of(hospital, kind, model=other)) == refused
    if kind == "check":
        assert why_not(hospital, scores_of(hospital, kind, shrunken=3)) == refused
    assert why_not(hospital, scores_of(hospital, kind, run="a third"))[1] == "run: this site hasn't joined it"


def test_a_server_that_asks_again_when_a_patient_has_gone_is_told_nothing(site_root, tmp_path):
    """The difference would be that patient's score."""
    hospital = Hospital(site_root, tmp_path, rounds_total=None, parts=None)
    hospital.answer(join(asking()), "query")
    before = scores_of(hospital, "histogram")
    assert scores_of(hospital, "histogram").scores == before.scores
    manifest = tmp_path / "anna.csv"
    first = next(
        row for row in csv.DictReader(manifest.open()) if row["split"] == "val" and sets_one(row["patient_id"])
    )
    manifest.write_text("".join(line for line in manifest.open() if f",{first['patient_id']}," not in line))
    refused = "run: other counts of scores have left in it, before the patients or the policy changed"
    assert why_not(hospital, scores_of(hospital, "histogram")) == ("ReleaseError at anna", refused)
    hospital.answer(JoinOrder(study=asking(), run="next", package_hash=package_hash()), "query")
    assert scores_of(hospital, "histogram", run="next").n == before.n - 1


def sets_one(patient):
    return is_kept_back(patient) and sets_thresholds(patient)


def test_scores_are_bounded_by_the_budget_of_rounds(site_root, tmp_path):
    """Else a server could open run after run, and ask for nothing but scores."""
    hospital = Hospital(site_root, tmp_path, parts=None)
    hospital.answer(join(asking()), "query")
    lack = "policy.rounds_total: no update has left in this run"
    assert why_not(hospital, scores_of(hospital, "histogram"))[1] == lack
    assert hospital.answer(training(asking())).has_content()
    assert scores_of(hospital, "histogram").withheld == ""


def test_scores_that_no_study_asks_for_are_not_told(site_root, tmp_path):
    hospital = Hospital(site_root, tmp_path, rounds_total=None, parts=None)
    hospital.answer(join(study()), "query")
    facts = {"study": study(), "run": "run", "package_hash": package_hash(), "base_round": 0}
    sent = hospital.answer(HistogramOrder(**facts, model=first_model(study())), "query.histogram")
    assert sent.error.reason == "MessageError at anna"


STEERING = "x\x1b[2J\x1b[1;1Hanna: the ledger is whole\nline 2\u202e"


def test_no_name_of_a_study_steers_the_terminal_of_who_reads_the_ledger():
    with pytest.raises(ValidationError, match=r"federation\.parts"):
        study(parts=["encoder", STEERING])
    facts = {"facts": {"reason": STEERING}, "tensors": [], "bytes": 1, "withheld": [STEERING]}
    line = Line(kind="refusal", what=facts, policy="", run=STEERING, number=1, time="", previous="", salt="")
    assert told(line).isprintable()
    assert in_words({"event": "withheld", "why": STEERING}).isprintable()


def test_a_card_that_steers_a_terminal_is_refused_with_its_model(hospital):
    hospital.answer(join(study()), "query")
    model = first_model(study())
    card = json.loads(model_card(study(), Progress(model)).model_dump_json()) | {"sites": ["anna", STEERING]}
    facts = {"study": study(), "run": "run", "package_hash": package_hash(), "base_round": 0}
    order = DeliveryOrder(**facts, model=model, card=json.dumps(card), model_hash=model_digest(model))
    assert hospital.answer(order, "query.deliver").error.reason == "MessageError at anna"
    assert not (hospital.state / "models").exists()


class TestAForgetfulResearcher:
    """Forgets what the hospital insists on; the hospital's own rules hold in its place, or it doesn't take part."""

    def test_no_clipping(self, hospital):
        hospital.answer(join(study(clip_update_norm=None)), "query")
        reply = RoundReply.from_record(hospital.answer(training(study(clip_update_norm=None))).content)
        line = hospital.lines()[-1]
        assert update_norm(reply.update) == line.what["norm"] <= POLICY["clip_update_norm"] + 1e-6
        assert any(np.any(codes) for codes in reply.update.values())

    def test_metrics_that_nobody_asked_the_hospital_for(self, hospital):
        hospital.answer(join(study()), "query")
        reply = RoundReply.from_record(hospital.answer(training(study())).content)
        assert reply.metrics.keys() == {"validation_error"}
        line = hospital.lines()[-1]
        assert line.what["metrics"].keys() == {"validation_error"}
        assert "policy.metrics: kl_real" in line.what["withheld"]

    @pytest.mark.parametrize(
        ("policy", "reason"),
        [
            ({"dp_required": True, "dp_epsilon": 3.0}, "policy.dp_required: the study has no differential privacy"),
            ({"min_patients": 1000}, "policy.min_patients: the site has fewer"),
        ],
    )
    def test_no_privacy_and_too_few_patients(self, site_root, tmp_path, policy, reason):
        hospital = Hospital(site_root, tmp_path, **policy)
        refusal = JoinRefusal.from_record(hospital.answer(join(study()), "query").content)
        assert refusal.reason == reason
        (line,) = hospital.lines()
        assert (line.kind, line.what["facts"]) == ("refusal", {"site": "anna", "reason": reason})

    def test_what_is_allowed_leaves(self, hospital):
        """So that a site that refuses everything would not pass here."""
        assert JoinReply.from_record(hospital.answer(join(study()), "query").content).site == "anna"
        assert hospital.lines()[-1].kind == "join"


class TestAHostileBundle:
    """A bundle that is not allowed never runs (`member/test_supernode.py`). The allowed one has no code, but settings:
    none of them reaches the site's own.
    """

    @pytest.mark.parametrize("name", ["site-config", "data-root", "state-folder", "cache", "study-file", "folder"])
    def test_settings_of_a_run_choose_no_path_here(self, hospital, tmp_path, name):
        elsewhere = tmp_path / "elsewhere"
        hospital.answer(join(study()), "query", {name: str(elsewhere), "folder": str(elsewhere)})
        assert [line.kind for line in hospital.lines()] == ["join"]
        assert not elsewhere.exists()

    @pytest.mark.parametrize("run", ["../../escaped", "/tmp/escaped", "a\x00b", "a\nb", "x" * 129, ""])  # noqa: S108
    def test_the_name_of_a_run_leads_nowhere(self, hospital, tmp_path, run):
        own = study(keep_optimizer=True)  # so that something is kept under the run's name
        hospital.answer(join(own, run), "query")
        hospital.answer(training(own, run=run))
        outside = [path for path in tmp_path.parent.rglob("*escaped*") if path.is_file()]
        assert outside == []
        state = {path for path in hospital.state.rglob("*") if path.is_file()}
        assert all(".." not in path.parts for path in state)
        assert hospital.lines()[-1].kind in ("round", "error")

    def test_code_in_a_study_is_a_text(self, hospital):
        hospital.answer(join(study()), "query")
        hostile = training(study()).to_record()
        settings = json.loads(hostile["order"]["study"])
        settings["method"]["name"] = "!!python/object/apply:os.system [touch /tmp/x]"
        hostile["order"]["study"] = json.dumps(settings)
        sent = hospital.answer(_Raw(hostile))
        assert sent.error.reason == "MessageError at anna"
        assert hospital.lines()[-1].what["facts"]["kind"] == "MessageError"

    def test_a_model_that_was_made_to_break_the_site_is_an_error_with_a_line(self, hospital):
        order = training(study())
        hospital.answer(join(study()), "query")
        broken = {name: np.full_like(array, np.nan) for name, array in order.model.items()}
        sent = hospital.answer(replace(order, model=broken))
        assert sent.has_error()
        assert os.fsencode(str(hospital.state)) not in sent.error.reason.encode()
        assert hospital.lines()[-1].kind == "error"


class _Raw:
    def __init__(self, record):
        self.record = record

    def to_record(self):
        return self.record


def test_a_study_of_the_servers_own_making_is_read_as_strictly_as_a_file():
    with pytest.raises(ValueError, match="extra"):
        StudyConfig.model_validate_json('{"seed": 1, "policy": {"parts": null}}')
