import io
import json
import math
import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st
from replies import check_reply, delivery_reply, histogram_reply, join_refusal, join_reply, round_reply
from safetensors.numpy import save

from ra_core.config import SITE_NAME, StudyConfig
from ra_core.errors import VersionError
from ra_core.installed import package_hash
from ra_core.messages import (
    CheckOrder,
    CheckReply,
    DeliveryOrder,
    HistogramOrder,
    HistogramReply,
    JoinOrder,
    JoinRefusal,
    MessageError,
    RoundOrder,
    RoundReply,
    arrays,
)
from ra_core.messages.packing import PACKED, PLAIN
from ra_core.thresholds.histogram import CELLS, Histogram

STUDY = StudyConfig.model_validate({"federation": {"local_steps": 10}})

NAMES = {"study": STUDY, "run": "first", "package_hash": package_hash()}
MODEL = {"encoder.w": np.arange(6, dtype=np.float32).reshape(2, 3)}


def order(**changes):
    rounds = {"round": 3, "base_round": 2, "best_round": 1, "start_step": 20, "steps": 10, "proximal_mu": 0.0}
    return RoundOrder(**NAMES | {"model": MODEL} | rounds | changes)


def delivery(**changes):
    return DeliveryOrder(**NAMES | {"base_round": 2, "card": "{}", "model_hash": "c" * 64, "model": MODEL} | changes)


def check(**changes):
    return CheckOrder(**NAMES | {"base_round": 2, "model": MODEL, "local": -1, "pooled": 0, "shrunken": 1201} | changes)


def reply(**changes):
    update = {"encoder.w": np.arange(6, dtype=np.int32).reshape(2, 3), "encoder.s": np.int32(4).reshape(())}
    return round_reply(**{"site": "St. Anna-2", "update": update} | changes)


def test_an_order_arrives_as_it_was_sent():
    sent = order()
    found = RoundOrder.from_record(sent.to_record())
    assert {**vars(found), "model": None} == {**vars(sent), "model": None}
    np.testing.assert_array_equal(found.model["encoder.w"], sent.model["encoder.w"])


@pytest.mark.parametrize(
    "sent",
    [
        JoinOrder(**NAMES),
        join_reply(site="St. Anna-2"),
        join_refusal(),
        histogram_reply(),
        histogram_reply(n=0, scores=Histogram(()), withheld="its policy"),
        check_reply(),
        delivery_reply(),
    ],
    ids=lambda sent: type(sent).__name__,
)
def test_a_message_without_tensors_arrives_as_it_was_sent(sent):
    assert type(sent).from_record(sent.to_record()) == sent


def test_an_order_acknowledges_a_ledger():
    head = {"ledger_length": 7, "ledger_head": "e" * 64}
    for sent in (order(**head), delivery(**head)):
        found = type(sent).from_record(sent.to_record())
        assert (found.ledger_length, found.ledger_head) == (7, "e" * 64)


@pytest.mark.parametrize(("sent", "refuses"), [(join_reply(), False), (join_refusal(), True)])
def test_a_refusal_can_be_told_from_a_reply(sent, refuses):
    assert JoinRefusal.is_one(sent.to_record()) is refuses
    assert not JoinRefusal.is_one(RecordDict({}))


def test_a_delivery_arrives_as_it_was_sent():
    found = DeliveryOrder.from_record(delivery().to_record())
    assert {**vars(found), "model": None} == {**vars(delivery()), "model": None}
    np.testing.assert_array_equal(found.model["encoder.w"], MODEL["encoder.w"])


@pytest.mark.parametrize("sent", [check(), HistogramOrder(**NAMES, base_round=0, model=MODEL)])
def test_a_question_about_the_chosen_model_arrives_as_it_was_sent(sent):
    found = type(sent).from_record(sent.to_record())
    assert {**vars(found), "model": None} == {**vars(sent), "model": None}
    np.testing.assert_array_equal(found.model["encoder.w"], MODEL["encoder.w"])


@given(st.lists(st.floats(0, 1e6), max_size=50), st.integers(1, 5))
def test_any_histogram_of_a_site_arrives_as_it_was_sent(scores, least):
    sent = histogram_reply(scores=Histogram.of(scores, least) if len(scores) >= least else Histogram(()), n=len(scores))
    assert HistogramReply.from_record(sent.to_record()) == sent


def with_cells(cells, dtype=np.int32):
    record = histogram_reply().to_record()
    record["histograms"] = arrays({"scores": np.array(cells, dtype)})
    return record


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ([[3, 2, 1]], "out of range, or empty"),
        ([[3, 3, 0]], "out of range, or empty"),
        ([[-1, 3, 1]], "out of range, or empty"),
        ([[0, CELLS, 1]], "out of range, or empty"),
        ([[0, CELLS - 1, 1]], "above the highest published edge"),
        ([[5, 5, 1], [3, 3, 1]], "out of order"),
        ([[3, 5, 1], [5, 5, 1]], "overlap"),
        ([[3, 5, 1], [3, 5, 1]], "overlap"),
        ([[3, 5]], "rows of first cell"),
        ([3, 5, 1], "rows of first cell"),
        ([[0, 0, 1]] * (CELLS + 1), "too many"),
    ],
)
def test_cells_that_cannot_be_of_one_site_are_refused(cells, reason):
    with pytest.raises(MessageError, match=reason):
        HistogramReply.from_record(with_cells(cells))


@given(st.lists(st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * 3), max_size=4))
def test_any_other_cells_are_refused_or_disjoint(cells):
    try:
        found = HistogramReply.from_record(with_cells(np.reshape(cells, (-1, 3)))).scores
    except MessageError:
        return
    assert found.cells == tuple(cells)
    assert all(after[0] > before[1] for before, after in pairwise(found.cells))


def test_histograms_are_whole_numbers_and_of_the_names_that_were_asked():
    with pytest.raises(MessageError, match="not int32"):
        HistogramReply.from_record(with_cells([[3, 3, 1]], np.int64))
    record = check_reply().to_record()
    record["histograms"] = histogram_reply().to_record()["histograms"]
    with pytest.raises(MessageError, match="holds others than anomalous, healthy"):
        CheckReply.from_record(record)


@pytest.mark.parametrize("sent", [JoinOrder(**NAMES), order(), delivery()], ids=lambda sent: type(sent).__name__)
def test_a_site_refuses_a_server_with_other_packages_before_it_reads_on(sent):
    record = replace(sent, package_hash="0" * 64).to_record()
    record["order"]["study"] = "settings that this version does not know"
    with pytest.raises(VersionError, match="another version"):
        type(sent).from_record(record)
    with pytest.raises(VersionError):
        type(sent).from_record(RecordDict({}))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (lambda: replace(JoinOrder(**NAMES), run=""), "no name"),
        (lambda: replace(JoinOrder(**NAMES), run="a\nb"), "no name"),
        (lambda: replace(JoinOrder(**NAMES), run="a" * 129), "no name"),
        (lambda: join_reply(study_digest="a"), "digest"),
        (lambda: join_reply(package_hash="A" * 64), "digest"),
        (lambda: join_reply(anatomy="a" * 65), "anatomy"),
        (lambda: join_reply(modality="M\nR"), "modality"),
        (lambda: join_reply(site="../a"), "site's name"),
        (lambda: join_reply(n_images=1.0), "n_images"),
        (lambda: delivery(base_round=-1), "can't be"),
        (lambda: delivery(model_hash="c"), "can't be"),
        (lambda: delivery(ledger_length=-1), "ledger"),
        (lambda: delivery(ledger_length=3), "ledger"),
        (lambda: delivery(ledger_head="e" * 64), "ledger"),
        (lambda: check(base_round=-1), "can't be"),
        (lambda: check(local=-2), "no published edge"),
        (lambda: check(shrunken=1202), "no published edge"),
        (lambda: histogram_reply(model_hash="c"), "digest"),
        (lambda: histogram_reply(network="c"), "network's hash"),
        (lambda: histogram_reply(withheld="a\nb"), "reason"),
        (lambda: check_reply(study_digest="c"), "digest"),
        (lambda: check_reply(withheld_test="a" * 401), "reason"),
        (lambda: check_reply(n=1.0), "'facts.n'"),
        (lambda: delivery_reply(model_hash="c"), "hash"),
        (lambda: delivery_reply(site="an\nna"), "site's name"),
        (lambda: delivery_reply(ledger_length=0), "ledger"),
        (lambda: delivery_reply(ledger_head=""), "ledger"),
        (lambda: join_refusal(reason=""), "reason"),
        (lambda: join_refusal(reason="a\nb"), "reason"),
        (lambda: join_refusal(reason="a" * 2001), "reason"),
    ],
)
def test_what_is_not_of_the_contract_is_refused(bad, reason):
    with pytest.raises(MessageError, match=reason):
        type(bad()).from_record(bad().to_record())


def test_a_reply_arrives_as_it_was_sent():
    sent = reply()
    found = RoundReply.from_record(sent.to_record())
    assert {**vars(found), "update": None} == {**vars(sent), "update": None}
    for name, codes in sent.update.items():
        np.testing.assert_array_equal(found.update[name], codes, strict=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"round": 0},
        {"best_round": 3},
        {"base_round": 3},
        {"base_round": 0},
        {"best_round": -1},
        {"start_step": -1},
        {"steps": 11},
        {"steps": -1},
        {"proximal_mu": math.nan},
        {"proximal_mu": -1.0},
        {"proximal_mu": math.inf},
    ],
)
def test_a_site_refuses_an_order_that_cannot_be(changes):
    with pytest.raises(MessageError, match="can't be"):
        RoundOrder.from_record(order(**changes).to_record())


def test_a_study_that_is_none_is_refused():
    record = order().to_record()
    record["order"] = ConfigRecord({**record["order"], "study": '{"no": "study"}'})
    with pytest.raises(MessageError, match="settings"):
        RoundOrder.from_record(record)


@pytest.mark.parametrize("part", ["facts", "metrics", "update"])
def test_a_part_of_another_kind_is_refused(part):
    record = reply().to_record()
    record[part] = ArrayRecord({}) if part != "update" else ConfigRecord({})
    with pytest.raises(MessageError, match=part):
        RoundReply.from_record(record)


@pytest.mark.parametrize("name", ["anna", "St. Anna-2", "mr_flair", "Zürich"])
def test_names(name):
    assert SITE_NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", " anna", "a,b", "a\n", "../a", "a" * 65, "a;b"])
def test_what_is_no_name(name):
    assert not SITE_NAME.fullmatch(name)


def with_bytes(data):
    record = reply().to_record()
    record["update"] = ArrayRecord({"all": Array("uint8", (len(data),), PLAIN, data)})
    return record


@given(st.binary(max_size=300))
def test_bytes_that_are_no_array_are_refused(data):
    with pytest.raises(MessageError, match="update"):
        RoundReply.from_record(with_bytes(data))


@given(st.randoms(use_true_random=False), st.integers(1, 8))
def test_a_damaged_array_is_refused_or_another_array(rng: random.Random, count):
    """Never another exception, never other than int32 of the size of the bytes."""
    data = bytearray(save({"encoder.w": np.arange(6, dtype=np.int32).reshape(2, 3)}))
    for _ in range(count):
        data[rng.randrange(len(data))] = rng.randrange(256)
    try:
        (found,) = RoundReply.from_record(with_bytes(bytes(data))).update.values()
    except MessageError:
        return
    assert (found.dtype, found.size) == (np.int32, 6)


PLACE = {"dtype": "I32", "shape": [2, 3], "data_offsets": [0, 24]}


@pytest.mark.parametrize(
    "header",
    [
        "[" * 9000,
        '{"w":' * 9000,
        json.dumps({"w": PLACE | {"shape": [2, 4]}}),
        json.dumps({"w": PLACE | {"shape": [2**62, 2**62]}}),
        json.dumps({"w": PLACE | {"shape": [-2, -3]}}),
        json.dumps({"w": PLACE | {"data_offsets": [0, 2**62]}}),
        json.dumps({"w": PLACE | {"data_offsets": [24, 0]}}),
        json.dumps({"w": PLACE, "v": PLACE}),
        json.dumps({"w": PLACE | {"dtype": "F32"}}),
        json.dumps({"w": PLACE | {"dtype": "O"}}),
        json.dumps({"w": {"shape": [2, 3]}}),
    ],
)
def test_a_header_made_to_break_its_reader_is_refused(header):
    text = header.encode()
    text += b" " * (-len(text) % 8)
    with pytest.raises(MessageError):
        RoundReply.from_record(with_bytes(len(text).to_bytes(8, "little") + text + bytes(24)))


def test_a_pickle_is_no_array():
    file = io.BytesIO()
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    for kind in (PLAIN, PACKED, "numpy.ndarray"):
        record = reply().to_record()
        record["update"] = ArrayRecord({"all": Array("object", (1,), kind, file.getvalue())})
        with pytest.raises(MessageError):
            RoundReply.from_record(record)


def test_one_part_has_one_array_of_flowers():
    """Each more would cost requests and entries in a database at every stop on the way."""
    record = reply().to_record()
    assert len(record["update"]) == 1
    record["update"]["another"] = record["update"]["all"]
    with pytest.raises(MessageError, match="'update' holds no arrays"):
        RoundReply.from_record(record)


def test_nothing_but_the_three_parts():
    with pytest.raises(MessageError, match="other parts"):
        RoundReply.from_record(RecordDict({**reply().to_record(), "more": ConfigRecord({})}))
