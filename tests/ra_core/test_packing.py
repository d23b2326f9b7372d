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
from ra_core.messages.packing import MOST, PACKED, pack, unpack

SMALL = np.arange(-400, 400, dtype=np.int32).reshape(20, 40)


def reply(array):
    record = round_reply(site="anna", update={"encoder.w": SMALL}).to_record(compress=True)
    record["update"] = ArrayRecord({"encoder.w": array})
    return record


@given(
    st.sampled_from([np.dtype(np.int32), np.dtype(np.float32)]).flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=3, min_side=0))
    )
)
def test_any_array_arrives_with_its_bits(array):
    sent = pack(array)
    back = unpack(sent, array.dtype) if sent.stype == PACKED else sent.numpy()
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_an_update_arrives_with_its_bits():
    record = round_reply(site="anna", update={"encoder.w": SMALL}).to_record(compress=True)
    assert record["update"]["encoder.w"].stype == PACKED
    np.testing.assert_array_equal(RoundReply.from_record(record).update["encoder.w"], SMALL, strict=True)


def test_small_numbers_become_smaller_and_random_ones_stay():
    assert len(pack(SMALL).data) < SMALL.nbytes / 2
    noise = np.frombuffer(np.random.default_rng(0).bytes(4000), np.int32)
    assert pack(noise).stype == "numpy.ndarray"


def test_what_would_unpack_to_much_more_is_sent_as_it_is():
    zeros = np.zeros(100_000, np.int32)
    assert len(zlib.compress(zeros.tobytes(), 1)) < zeros.nbytes / MOST
    assert pack(zeros).stype == "numpy.ndarray"


def packed(values=SMALL, dtype="int32", shape=SMALL.shape, data=None):
    return Array(dtype, shape, PACKED, pack(values).data if data is None else data)


BOMB = zlib.compress(bytes(10_000_000))


@pytest.mark.parametrize(
    "array",
    [
        packed(dtype="float32"),
        packed(shape=(20, 41)),
        packed(shape=(20, 39)),
        packed(shape=(-20, -40)),
        packed(shape=()),
        packed(shape=(0,)),
        packed(shape=(True, 800)),
        packed(shape=(2**62, 2**62)),
        packed(data=BOMB),
        packed(data=BOMB, shape=(2_500_000,)),
        packed(data=pack(SMALL).data + b"x"),
        packed(data=pack(SMALL).data[:-1]),
        packed(data=b""),
    ],
)
def test_what_is_not_its_shape_is_refused(array):
    with pytest.raises(MessageError, match="'update' can't be read"):
        RoundReply.from_record(reply(array))


@given(st.randoms(use_true_random=False), st.integers(1, 8))
def test_damaged_bytes_are_refused_or_another_array(rng: random.Random, count):
    data = bytearray(pack(SMALL).data)
    for _ in range(count):
        data[rng.randrange(len(data))] = rng.randrange(256)
    try:
        found = RoundReply.from_record(reply(packed(data=bytes(data)))).update["encoder.w"]
    except MessageError:
        return
    assert (found.dtype, found.shape) == (np.int32, SMALL.shape)


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
