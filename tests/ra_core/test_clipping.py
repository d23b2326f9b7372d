"""Norms and clipping, against exact arithmetic."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ra_core import clipping
from ra_core.clipping import clipped, truncated, update_norm
from ra_core.fixed_point import LARGEST_UPDATE, RESOLUTION, WeightedSum, decode

LARGEST_CODE = int(LARGEST_UPDATE / RESOLUTION)

SHAPES = {"a.w": (3, 2), "b.w": (4,), "c.w": ()}

updates = st.fixed_dictionaries(
    {
        name: hnp.arrays(np.int32, shape, elements=st.integers(-LARGEST_CODE, LARGEST_CODE))
        for name, shape in SHAPES.items()
    }
)


def flat(arrays):
    return np.concatenate([arrays[name].reshape(-1) for name in SHAPES])


def bits(arrays):
    return {name: np.asarray(array).tobytes() for name, array in arrays.items()}


@pytest.fixture
def tiny_chunks(monkeypatch):
    monkeypatch.setattr(clipping, "CHUNK", 3)


@given(updates)
def test_the_norm_is_the_l2_norm_of_all_weights(codes):
    assert update_norm(codes) == pytest.approx(np.linalg.norm(decode(flat(codes))), rel=1e-12)


@given(updates)
def test_the_squares_are_summed_exactly(codes):
    total = sum(int(code) ** 2 for code in flat(codes))
    assert update_norm(codes) == math.sqrt(total) * RESOLUTION


@given(updates, st.permutations(list(SHAPES)))
def test_the_norm_does_not_depend_on_the_order_of_tensors(codes, order):
    assert update_norm({name: codes[name] for name in order}) == update_norm(codes)


def test_the_norm_of_the_largest_update_does_not_overflow():
    codes = {"w": np.full(100_000, -LARGEST_CODE, np.int32)}
    assert update_norm(codes) == math.sqrt(100_000 * LARGEST_CODE**2) * RESOLUTION
    assert update_norm({"w": np.full(4, -(2**31), np.int32)}) == 2 * 2**31 * RESOLUTION


def test_the_norm_of_nothing_is_zero():
    assert update_norm({}) == 0
    assert update_norm({"w": np.zeros((0, 3), np.int32)}) == 0


@pytest.mark.usefixtures("tiny_chunks")
def test_chunks_change_no_norm():
    codes = {"w": np.arange(-5, 5, dtype=np.int32)}
    assert update_norm(codes) == math.sqrt(85) * RESOLUTION


@given(updates, st.floats(1e-6, 40))
def test_a_clipped_update_stays_within_the_norm(codes, largest):
    short = clipped(codes, largest)
    assert update_norm(short) <= largest * (1 + 1e-12)
    assert {name: array.shape for name, array in short.items()} == SHAPES
    assert all(isinstance(array, np.ndarray) and array.dtype == np.int32 for array in short.values())


@pytest.mark.parametrize("code", [6, 504, 511])
def test_what_was_shortened_is_not_shortened_again(code):
    """The norm comes out longer than the largest by the last digit of a float."""
    largest = np.nextafter(code * RESOLUTION, 0)
    factor = {6: 7, 504: 31, 511: 14}[code]
    once = clipped({"w": np.array([code * factor], np.int32)}, largest)
    assert update_norm(once) > largest
    assert clipped(once, largest)["w"].tolist() == [code]


@given(updates, st.floats(1e-6, 40))
def test_clipping_keeps_the_direction_up_to_rounding(codes, largest):
    factor = min(1.0, largest / max(update_norm(codes), 1e-300))
    assert np.abs(flat(clipped(codes, largest)) - flat(codes) * factor).max() <= 1 + 1e-6


@given(updates)
def test_an_update_within_the_norm_stays_as_it_is(codes):
    norm = max(update_norm(codes), RESOLUTION)
    assert bits(clipped(codes, norm)) == bits(codes)


def test_clipping_rounds_towards_zero():
    codes = {"w": np.array([-10, 10, 10, 10], np.int32)}  # norm 20
    assert clipped(codes, 5 * RESOLUTION)["w"].tolist() == [-2, 2, 2, 2]  # 2.5
    codes = {"w": np.array([6, 8, 0, 0], np.int32), "v": np.array([0], np.int32)}  # norm 10
    assert clipped(codes, 2.5 * RESOLUTION)["w"].tolist() == [1, 2, 0, 0]  # 1.5 and 2


@given(updates, st.integers(1, 24))
def test_fewer_digits_are_the_leading_ones(codes, digits):
    found = truncated(codes, digits)
    for code, short in zip(flat(codes).tolist(), flat(found).tolist(), strict=True):
        spare = max(abs(code).bit_length() - digits, 0)
        assert short == (1 if code > 0 else -1) * (abs(code) >> spare << spare)
    assert {name: (array.shape, array.dtype) for name, array in found.items()} == {
        name: (shape, np.dtype(np.int32)) for name, shape in SHAPES.items()
    }
    assert update_norm(found) <= update_norm(codes)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(updates, st.integers(1, 1000)), min_size=3, max_size=3))
def test_the_sum_of_clipped_updates_has_one_result_in_all_orders(sites):
    results = set()
    for order in itertools.permutations(sites):
        total = WeightedSum(SHAPES)
        for codes, count in order:
            total.add(clipped(codes, 1.0), count)
        assert total.count == sum(count for _, count in sites)
        results.add(tuple(bits(total.mean()).values()))
    assert len(results) == 1


@pytest.mark.parametrize("largest", [0.0, -1.0, math.inf, math.nan])
def test_a_norm_that_is_none_is_refused(largest):
    with pytest.raises(ValueError, match="largest norm"):
        clipped({"w": np.ones(1, np.int32)}, largest)
