"""Arrays packed on their way: the same bits arrive, and what can't be one is refused before memory is set aside."""

import random
import zlib

import numpy as np
import pytest
from federating import train_hospitals
from flwr.app import Array, ArrayRecord
from hospitals import model_digest, tiny_federation, write_hospitals
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from replies import round_reply

from ra_core.messages import MessageError, RoundReply
from ra_core.messages.packing import MOST, PACKED, PLAIN, pack, unpack

SMALL = np.arange(-400, 400, dtype=np.int32).reshape(20, 40)


def reply(array):
    record = round_reply(site="anna", update={"encoder.w": SMALL}).to_record(compress=True)
    record["update"] = ArrayRecord({"all": array})
    return record


@given(
    st.sampled_from([np.dtype(kind) for kind in (np.int32, np.float32, np.uint64, np.uint8)]).flatmap(
        lambda dtype: st.dictionaries(
            st.text(max_size=20), arrays(dtype, array_shapes(min_dims=0, max_dims=3, min_side=0)), max_size=4
        )
    ),
    st.booleans(),
)
def test_any_arrays_arrive_with_their_bits(sent, compress):
    for dtype in {array.dtype for array in sent.values()} or {np.dtype(np.int32)}:
        back = unpack(pack(sent, compress), dtype)
    told = [{n: (a.dtype, a.shape, a.tobytes()) for n, a in found.items()} for found in (sent, back)]
    assert told[0] == told[1]


def test_an_update_arrives_with_its_bits():
    record = round_reply(site="anna", update={"encoder.w": SMALL}).to_record(compress=True)
    assert record["update"]["all"].stype == PACKED
    np.testing.assert_array_equal(RoundReply.from_record(record).update["encoder.w"], SMALL, strict=True)


def test_small_numbers_become_smaller_and_random_ones_stay():
    assert len(pack({"w": SMALL}, compress=True).data) < SMALL.nbytes / 2
    noise = np.frombuffer(np.random.default_rng(0).bytes(400_000), np.int32)
    assert pack({"w": noise}, compress=True).stype == PLAIN


def test_what_would_unpack_to_much_more_is_sent_as_it_is():
    zeros = np.zeros(100_000, np.int32)
    assert len(zlib.compress(zeros.tobytes(), 1)) < zeros.nbytes / MOST
    assert pack({"w": zeros}, compress=True).stype == PLAIN


SENT = pack({"encoder.w": SMALL}, compress=True)


def packed(size=SENT.shape[0], shape=None, data=SENT.data):
    return Array("uint8", (size,) if shape is None else shape, PACKED, data)


BOMB = zlib.compress(bytes(10_000_000))


@pytest.mark.parametrize(
    "array",
    [
        pack({"encoder.w": SMALL.astype(np.float32)}, compress=True),
        packed(SENT.shape[0] + 4),
        packed(SENT.shape[0] - 4),
        packed(SENT.shape[0] + 1),
        packed(-4),
        packed(0),
        packed(True),
        packed(2**62),
        packed(shape=()),
        packed(shape=(20, 40)),
        packed(data=BOMB),
        packed(10_000_000, data=BOMB),
        packed(data=SENT.data + b"x"),
        packed(data=SENT.data[:-1]),
        packed(data=b""),
    ],
)
def test_what_is_not_its_size_is_refused(array):
    with pytest.raises(MessageError, match="'update' can't be read"):
        RoundReply.from_record(reply(array))


@given(st.randoms(use_true_random=False), st.integers(1, 8))
def test_damaged_bytes_are_refused_or_another_array(rng: random.Random, count):
    data = bytearray(SENT.data)
    for _ in range(count):
        data[rng.randrange(len(data))] = rng.randrange(256)
    try:
        found = RoundReply.from_record(reply(packed(data=bytes(data)))).update
    except MessageError:
        return
    assert [(array.dtype, array.size) for array in found.values()] == [(np.int32, SMALL.size)]


def test_a_federation_that_packs_has_the_same_model(site_root, tmp_path):
    sent = []

    def counting(message, context):
        from client.app import app

        answer = app(message, context)
        for record in (message, answer):
            parts = [] if record.has_error() else record.content.array_records.values()
            sent.extend(array for part in parts for array in part.values())
        return answer

    digests, sizes = [], []
    for compress in (False, True):
        folder = tmp_path / str(compress)
        done = train_hospitals(write_hospitals(site_root, folder), tiny_federation(compress=compress), app=counting)
        digests.append(model_digest(done.model))
        sizes.append(sum(len(array.data) for array in sent))
        kinds = {array.stype for array in sent}
        sent.clear()
    assert digests[0] == digests[1]
    assert PACKED in kinds
    assert sizes[1] < 0.9 * sizes[0]
