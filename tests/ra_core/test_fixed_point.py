import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ra_core.fixed_point import LARGEST_TOTAL_COUNT, LARGEST_UPDATE, RESOLUTION, RangeError, WeightedSum, decode, encode

values = hnp.arrays(np.float32, 5, elements=st.floats(-8, 8, width=32))


@given(values)
def test_rounding_error_is_at_most_half_a_step(update):
    assert np.abs(decode(encode(update)) - update.astype(np.float64)).max() <= RESOLUTION / 2


def test_the_stated_bounds_cannot_overflow():
    assert (LARGEST_UPDATE / RESOLUTION) * LARGEST_TOTAL_COUNT < 2**63
    total = WeightedSum({"w": (1,)})
    total.add({"w": encode(np.array([LARGEST_UPDATE]))}, LARGEST_TOTAL_COUNT)
    assert total.mean()["w"][0] == LARGEST_UPDATE


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(values, st.integers(1, 10**6)), min_size=4, max_size=4))
def test_all_24_orders_give_the_same_bits(sites):
    results = set()
    for order in itertools.permutations(sites):
        total = WeightedSum({"w": (5,)})
        for update, count in order:
            total.add({"w": encode(update)}, count)
        results.add(total.mean()["w"].tobytes())
    assert len(results) == 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(values, st.integers(1, 1000)), min_size=1, max_size=5))
def test_the_mean_is_the_weighted_mean(sites):
    total = WeightedSum({"w": (5,)})
    for update, count in sites:
        total.add({"w": encode(update)}, count)
    reference = np.average([u.astype(np.float64) for u, _ in sites], axis=0, weights=[n for _, n in sites])
    np.testing.assert_allclose(total.mean()["w"], reference, atol=RESOLUTION)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 8.1, -9.0])
def test_values_out_of_range_are_refused_at_the_site(bad):
    with pytest.raises(RangeError):
        encode(np.array([0.0, bad]))


@pytest.mark.parametrize(
    ("codes", "count", "error"),
    [
        ({"w": np.zeros(3, np.int32)}, 0, RangeError),
        ({"w": np.zeros(3, np.int32)}, -5, RangeError),
        ({"w": np.zeros(3, np.int32)}, LARGEST_TOTAL_COUNT + 1, RangeError),
        ({"w": np.zeros(1, np.int32)}, 1, ValueError),  # would broadcast
        ({"w": np.zeros((3, 1), np.int32)}, 1, ValueError),
        ({"w": np.zeros(3, np.int64)}, 1, ValueError),
        ({"w": np.zeros(3, np.float32)}, 1, ValueError),
        ({"v": np.zeros(3, np.int32)}, 1, ValueError),
        ({}, 1, ValueError),
        ({"w": np.full(3, 2**31 - 1, np.int32)}, 1, RangeError),
        ({"w": np.full(3, -(2**31), np.int32)}, 1, RangeError),
    ],
)
def test_a_bad_reply_is_refused_and_nothing_of_it_is_added(codes, count, error):
    total = WeightedSum({"w": (3,)})
    total.add({"w": np.ones(3, np.int32)}, 2)
    with pytest.raises(error):
        total.add(codes, count)
    assert total.count == 2
    np.testing.assert_array_equal(total.mean()["w"], np.full(3, RESOLUTION))


def test_the_mean_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="no update"):
        WeightedSum({"w": (1,)}).mean()
