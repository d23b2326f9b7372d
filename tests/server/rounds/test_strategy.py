"""The round loop against sites that answer well, badly, late or not at all; no site trains anything here."""

import io
import itertools
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from answering import SITES, answering_app, counts, good_delivery, good_join, good_reply
from federating import KilledError, federate, killed_when, start, study
from flwr.app import Array, ArrayRecord, ConfigRecord, Error
from hospitals import model_digest as digest

from ra_core.errors import QuorumError
from ra_core.fixed_point import encode
from ra_core.messages.packing import PLAIN
from server.rounds.checkpoint import Checkpoints
from server.rounds.orders import Orders
from server.rounds.progress import Progress
from server.rounds.strategy import FederatedAveraging
from simulation.engines import InProcessGrid

GOOD = (good_reply, good_join, good_delivery)


def test_a_round_is_the_weighted_mean_of_the_updates():
    done = federate(rounds=1)
    order = Orders(study(rounds=1), "run").next_round(Progress(start()), 10)
    replies = [good_reply(site, order) for site in SITES]
    for name, before in start().items():
        mean = np.average([r.update[name] * 2.0**-24 for r in replies], axis=0, weights=[r.n_images for r in replies])
        np.testing.assert_allclose(done.model[name], before + mean, rtol=1e-5, atol=1e-6)


def test_24_orders_of_reply_give_the_same_bits():
    results = {digest(federate(order=order, rounds=1).model) for order in itertools.permutations(range(4))}
    assert len(results) == 1


def test_one_answer_is_asked_for_at_a_time_so_that_memory_does_not_grow_with_the_sites():
    class Counting(InProcessGrid):
        most = 0

        def pull_messages(self, message_ids):
            names = list(message_ids)
            Counting.most = max(Counting.most, len(names))
            return super().pull_messages(names)

    names = [f"site{i}" for i in range(11)]
    likes = [dict.fromkeys(names, lambda s, o, good=good: replace(good("anna", o), site=s)) for good in GOOD]
    app = answering_app(*likes)
    grid = Counting(app, [{"name": name} for name in names])
    done = FederatedAveraging(grid, study(rounds=1), names, lambda _: True, lambda _: None).run(Progress(start()))
    assert Counting.most == 1
    assert done.records[0].answered == tuple(sorted(names))
    assert dict(done.records[0].images) == dict.fromkeys(sorted(names), 10)
    assert dict(done.records[0].files) == dict.fromkeys(sorted(names), (109, 110))
    assert set(done.records[0].fingerprints.values()) == {"f" * 64}


def test_the_closing_exchange_lets_the_last_round_win():
    done = federate()
    assert [record.round for record in done.records] == [1, 2, 3, 4]
    assert done.best_round == 3
    assert digest(done.best) == digest(done.model)
    assert done.records[-1].n_images == 0


def test_only_selectable_rounds_can_win():
    assert federate(selectable=lambda step: step == 10).best_round == 1
    nothing = federate(selectable=lambda _: False)
    assert nothing.best == {}
    assert math.isinf(nothing.best_error)


def test_a_site_may_keep_its_validation_error_to_itself():
    def silent(site, order):
        return good_reply(site, order, metrics={})

    record = federate({"anna": silent, "berta": silent}, rounds=1).records[0]
    assert record.answered == SITES
    weights = {"clara": counts("clara")["n_val"], "dora": counts("dora")["n_val"]}
    told = sum(n * record.by_site[site]["validation_error"] for site, n in weights.items())
    assert record.validation_error == pytest.approx(told / sum(weights.values()))
    none = federate(dict.fromkeys(SITES, silent), rounds=2)
    assert none.best_round == 2
    assert math.isinf(none.best_error)


def test_validation_error_is_weighted_by_validation_images():
    record = federate(rounds=1).records[0]
    expected = np.average([1 + 0.01 * i for i in range(4)], weights=[5, 6, 7, 8])
    assert record.validation_error == pytest.approx(expected)


class Raw:
    """A reply that no `RoundReply` would send: a record changed by hand."""

    def __init__(self, site, order, change):
        self.record = good_reply(site, order).to_record()
        change(self.record)

    def to_record(self):
        return self.record


def header_of(shape):
    """An array record's only array claims a shape that it doesn't have."""

    def change(record):
        place = {"dtype": "I32", "shape": shape, "data_offsets": [0, 4 * math.prod(shape)]}
        header = json.dumps({"encoder.w": place}).encode()
        data = len(header).to_bytes(8, "little") + header
        record["update"] = ArrayRecord({"all": Array("uint8", (len(data),), PLAIN, data)})

    return change


def without_metrics(record):
    record["metrics"] = ConfigRecord({})


def pickled(record):
    data = io.BytesIO()
    np.save(data, np.array([{}], dtype=object), allow_pickle=True)
    record["update"] = ArrayRecord({"all": Array("object", (1,), PLAIN, data.getvalue())})


BAD = {
    "wrong shape": lambda s, o: good_reply(s, o, update={n: encode(np.zeros((2, 2))) for n in o.model}),
    "a shape that would broadcast": lambda s, o: good_reply(s, o, update={n: encode(np.zeros(1)) for n in o.model}),
    "missing array": lambda s, o: good_reply(s, o, update={"encoder.w": encode(np.zeros((3, 2)))}),
    "unknown array": lambda s, o: good_reply(
        s, o, update=dict(good_reply(s, o).update) | {"encoder.x": encode(np.zeros(1))}
    ),
    "beyond the range": lambda s, o: good_reply(
        s, o, update={n: np.full(a.shape, 2**30, np.int32) for n, a in o.model.items()}
    ),
    "the smallest integer": lambda s, o: good_reply(
        s, o, update={n: np.full(a.shape, -(2**31), np.int32) for n, a in o.model.items()}
    ),
    "floats": lambda s, o: good_reply(s, o, update={n: np.zeros(a.shape, np.float32) for n, a in o.model.items()}),
    "wide integers": lambda s, o: good_reply(s, o, update={n: np.zeros(a.shape, np.int64) for n, a in o.model.items()}),
    "a header of 4 TB": lambda s, o: Raw(s, o, header_of((2**40,))),
    "a header with a negative shape": lambda s, o: Raw(s, o, header_of((-1, -1))),
    "a pickle": lambda s, o: Raw(s, o, pickled),
    "zero images": lambda s, o: good_reply(s, o, n_images=0),
    "negative images": lambda s, o: good_reply(s, o, n_images=-4),
    "absurd images": lambda s, o: good_reply(s, o, n_images=2**62),
    "most of all images there can be": lambda s, o: good_reply(s, o, n_images=2**34),
    "more images than any hospital has": lambda s, o: good_reply(s, o, n_images=10_000_001),
    "more patients than images": lambda s, o: good_reply(s, o, n_patients=10**6),
    "no validation images": lambda s, o: good_reply(s, o, n_val=0),
    "absurd validation images": lambda s, o: good_reply(s, o, n_val=2**62),
    "more files used than declared": lambda s, o: good_reply(s, o, n_used=10**6),
    "no files": lambda s, o: good_reply(s, o, n_used=0),
    "NaN metric": lambda s, o: good_reply(s, o, metrics={"validation_error": math.nan}),
    "NaN among the metrics": lambda s, o: good_reply(s, o, metrics={"validation_error": 1.0, "vae": math.nan}),
    "infinite metric": lambda s, o: good_reply(s, o, metrics={"validation_error": math.inf}),
    "a metric that drowns the others": lambda s, o: good_reply(s, o, metrics={"validation_error": 1e308}),
    "negative validation error": lambda s, o: good_reply(s, o, metrics={"validation_error": -1.0}),
    "no metrics": lambda s, o: Raw(s, o, without_metrics),
    "a metric's long name": lambda s, o: good_reply(s, o, metrics={"validation_error": 1.0, "m" * 1000: 1.0}),
    "many metrics": lambda s, o: good_reply(
        s, o, metrics={"validation_error": 1.0} | {f"m{i}": 1.0 for i in range(100)}
    ),
    "a fingerprint that tells": lambda s, o: good_reply(s, o, fingerprint="patient 7"),
    "a long name": lambda s, o: good_reply(s, o, site=s * 1000),
    "a name with a line break": lambda s, o: good_reply(s, o, site=f"{s}\nanna"),
    "an unknown name": lambda s, o: good_reply(s, o, site="zoe"),
    "another round": lambda s, o: good_reply(s, o, round=o.round + 1),
    "another model": lambda s, o: good_reply(s, o, model_hash="0" * 64),
    "another study": lambda s, o: good_reply(s, o, study_digest="0" * 64),
    "an error": lambda s, o: Error(code=1000, reason="NonFiniteError"),
    "an error with its site": lambda s, o: Error(code=1000, reason=f"NonFiniteError at {s}"),
    "an error without a reason": lambda s, o: Error(code=2),
    "Flower's word for an order that came to nobody": lambda s, o: Error(code=3, reason="Message Unavailable" * 99),
    "Flower's word for an answer that is void": lambda s, o: Error(code=4, reason="Reply Message Unavailable"),
    "an error of Flower": lambda s, o: Error(code=2, reason="Node Unavailable at the\nmoment" + 10_000 * "!"),
}


REASONS = {
    "wrong shape": "has shape",
    "a shape that would broadcast": "has shape",
    "missing array": "arrays differ",
    "unknown array": "arrays differ",
    "beyond the range": "beyond 8",
    "the smallest integer": "beyond 8",
    "floats": "not int32",
    "wide integers": "not int32",
    "a header of 4 TB": "can't be read",
    "a header with a negative shape": "can't be read",
    "a pickle": "can't be read",
    "zero images": "counts",
    "negative images": "counts",
    "absurd images": "counts",
    "most of all images there can be": "counts",
    "more images than any hospital has": "counts",
    "more patients than images": "counts",
    "no validation images": "counts",
    "absurd validation images": "counts",
    "more files used than declared": "counts of files",
    "no files": "counts of files",
    "NaN metric": "not finite",
    "NaN among the metrics": "not finite",
    "infinite metric": "not finite",
    "a metric that drowns the others": "too large",
    "negative validation error": "negative validation error",
    "no metrics": "holds no metrics",
    "a metric's long name": "name is too long",
    "many metrics": "more than 32",
    "a fingerprint that tells": "fingerprint",
    "a long name": "site's name",
    "a name with a line break": "site's name",
    "an unknown name": "which it is not",
    "another round": "another round",
    "another model": "another model",
    "another study": "another study",
    "an error": "NonFiniteError",
    "an error with its site": "NonFiniteError$",
    "an error without a reason": "an error",
    "Flower's word for an order that came to nobody": "^no answer before the deadline$",
    "Flower's word for an answer that is void": "^no answer before the deadline$",
    "an error of Flower": "Node Unavailable",
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_answer_is_rejected_and_the_rest_goes_on(what):
    done = federate({"berta": BAD[what]}, quorum=0.75)
    for record in done.records[:-1]:
        assert record.answered == ("anna", "clara", "dora")
        ((who, why),) = record.missing.items()
        assert who == "berta"
        assert re.search(REASONS[what], why)
        assert why.isprintable()
        assert 0 < len(why) <= 400
    assert all(np.isfinite(array).all() for array in done.model.values())
    assert all(math.isfinite(record.validation_error) for record in done.records)
    assert done.records[0].n_images == 10 + 3000 + 7


def test_the_head_of_an_answer_that_is_rejected_is_kept_for_it_has_left():
    def no_images(site, order):
        return good_reply(site, order, n_images=0, ledger_length=order.round + 4, ledger_head="b" * 64)

    done = federate({"berta": no_images}, quorum=0.75)
    assert [record.ledgers["berta"] for record in done.records] == [(n, "b" * 64) for n in (5, 6, 7, 8)]
    assert done.ledgers["berta"] == (8, "b" * 64)
    progress = Progress(start())
    with pytest.raises(QuorumError):
        federate({"berta": no_images}, progress=progress)
    assert progress.ledgers["berta"] == (5, "b" * 64), "also where the round doesn't count"


def test_nobody_gives_the_head_of_another_sites_ledger():
    done = federate({"berta": lambda s, o: good_reply("anna", o, ledger_length=9)}, quorum=0.75)
    assert "berta" not in done.records[0].ledgers
    assert done.ledgers["anna"][0] == done.ledgers["clara"][0]


def good_at_first(site, order):
    return good_reply(site, order) if order.round == 1 else Error(code=5, reason="Node Unavailable")


def test_flowers_own_error_names_the_site_by_the_message_that_it_answers():
    done = federate({"berta": good_at_first}, quorum=0.75)
    assert done.records[1].missing == {"berta": "its connection was lost (Node Unavailable)"}


def test_an_error_cannot_be_put_upon_another_site():
    record = federate({"berta": lambda s, o: Error(1000, "NonFiniteError at anna")}, quorum=0.75, rounds=1).records[0]
    assert record.missing == {"berta": "reports NonFiniteError"}


def test_a_site_cannot_answer_for_another():
    done = federate({"berta": lambda s, o: good_reply("anna", o)}, quorum=0.75)
    assert done.records[0].answered == ("anna", "clara", "dora")
    assert done.records[0].missing == {"berta": "answers as 'anna', which it is not"}


def test_the_quorum_is_not_rounded_beyond_itself():
    assert FederatedAveraging(None, study(quorum=0.55), [str(i) for i in range(20)], None, None)._needed == 11


def test_sites_learn_which_round_was_the_best():
    told = []

    def listens(site, order):
        told.append((order.round, order.best_round))
        return good_reply(site, order, metrics={"validation_error": float(order.round != 2)})

    federate(dict.fromkeys(SITES, listens))
    assert sorted(set(told)) == [(1, 0), (2, 0), (3, 1), (4, 1)]


def test_without_a_quorum_the_run_stops_and_says_who_and_why():
    with pytest.raises(QuorumError, match=r"round 1: 3 of 4 .*berta: .*count"):
        federate({"berta": BAD["zero images"]})


OPTIMIZERS = [{"name": "none"}, {"name": "momentum"}, {"name": "adam", "learning_rate": 0.01}]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda config: config["name"])
@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_a_run_resumed_after_any_exchange_gives_the_same_bits(tmp_path, optimizer, stop):
    checkpoints = Checkpoints(tmp_path, study(optimizer=optimizer).digest())

    save = killed_when(lambda progress: len(progress.records) == stop, checkpoints)
    whole = federate(optimizer=optimizer)
    with pytest.raises(KilledError):
        federate(on_round=save, optimizer=optimizer)
    resumed = federate(progress=checkpoints.load(), optimizer=optimizer)
    assert digest(resumed.model) == digest(whole.model)
    assert digest(resumed.best) == digest(whole.best)
    assert resumed.records == whole.records
    assert resumed.delivered == SITES


def test_a_site_cannot_change_what_others_receive():
    def vandal(site, order):
        for array in order.model.values():
            if array.flags.writeable:
                array[:] = 7
        return good_reply(site, order)

    done = federate({"anna": vandal}, quorum=0.75, rounds=1)
    assert {"berta", "clara", "dora"} <= set(done.records[0].answered)
