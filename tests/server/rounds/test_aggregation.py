"""The trimmed mean, against exact arithmetic, scipy and Flower."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from flwr.serverapp.strategy.fedtrimmedavg import trim_mean as flower_trim_mean
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from ra_core.fixed_point import (
    LARGEST_TOTAL_COUNT,
    LARGEST_UPDATE,
    RESOLUTION,
    RangeError,
    WeightedSum,
    decode,
    encode,
)
from server.rounds import aggregation
from server.rounds.aggregation import Combiner, TrimmedMean, dropped

LARGEST_CODE = int(LARGEST_UPDATE / RESOLUTION)

SHAPES = {"a.w": (3, 2), "b.w": (4,), "c.w": ()}

updates = st.fixed_dictionaries(
    {
        name: hnp.arrays(np.int32, shape, elements=st.integers(-LARGEST_CODE, LARGEST_CODE))
        for name, shape in SHAPES.items()
    }
)
several = st.lists(updates, min_size=1, max_size=7)


def flat(arrays):
    return np.concatenate([arrays[name].reshape(-1) for name in SHAPES])


def trimmed(sites, share):
    combiner = TrimmedMean(SHAPES, share)
    for codes in sites:
        combiner.add(codes, 1)
    return combiner.mean()


def bits(arrays):
    return {name: np.asarray(array).tobytes() for name, array in arrays.items()}


@pytest.fixture
def tiny_chunks(monkeypatch):
    monkeypatch.setattr(aggregation, "CHUNK", 3)


@settings(deadline=None)
@given(several, st.floats(0, 0.499))
def test_the_trimmed_mean_is_exact(sites, share):
    result = flat(trimmed(sites, share))
    cut = dropped(share, len(sites))
    for i, column in enumerate(zip(*(flat(codes).tolist() for codes in sites), strict=True)):
        kept = sorted(column)[cut : len(column) - cut]
        assert result[i] == float(Fraction(sum(kept), len(kept)) * Fraction(RESOLUTION))


def test_many_sites_at_the_largest_update_do_not_overflow():
    site = {name: np.full(shape, LARGEST_CODE, np.int32) for name, shape in SHAPES.items()}
    assert (flat(trimmed([site] * 40, 0.1)) == LARGEST_UPDATE).all()


@settings(deadline=None)
@given(several, st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.4]))
def test_the_trimmed_mean_is_scipys_and_flowers(sites, share):
    result = flat(trimmed(sites, share))
    stacked = np.stack([decode(flat(codes)) for codes in sites])
    np.testing.assert_allclose(result, stats.trim_mean(stacked, share, axis=0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(result, flower_trim_mean(stacked, share), rtol=1e-12, atol=1e-14)


@settings(max_examples=20, deadline=None)
@given(st.lists(updates, min_size=4, max_size=4))
def test_all_24_orders_give_the_same_bits(sites):
    results = {tuple(bits(trimmed(order, 0.25)).values()) for order in itertools.permutations(sites)}
    assert len(results) == 1


@given(st.lists(updates, min_size=5, max_size=5), updates)
def test_one_site_cannot_move_the_trimmed_mean_beyond_the_others(sites, bad):
    honest = np.stack([decode(flat(codes)) for codes in sites])
    result = flat(trimmed([*sites, bad], 0.2))
    assert (honest.min(axis=0) <= result).all()
    assert (result <= honest.max(axis=0)).all()


@pytest.mark.usefixtures("tiny_chunks")
def test_chunks_change_no_mean():
    rng = np.random.default_rng(0)
    sites = [{"w": encode(rng.normal(size=(5, 2)))} for _ in range(5)]
    combiner = TrimmedMean({"w": (5, 2)}, 0.2)
    for codes in sites:
        combiner.add(codes, 10)
    expected = stats.trim_mean(np.stack([decode(codes["w"]) for codes in sites]), 0.2, axis=0)
    np.testing.assert_allclose(combiner.mean()["w"], expected, rtol=1e-12)
    assert combiner.count == 50


def test_an_empty_tensor_has_an_empty_mean():
    combiner = TrimmedMean({"w": (0, 3)}, 0.2)
    combiner.add({"w": np.zeros((0, 3), np.int32)}, 1)
    assert combiner.mean()["w"].shape == (0, 3)


@pytest.mark.parametrize(
    ("share", "sites", "cut"), [(0.2, 3, 0), (0.2, 5, 1), (0.29, 100, 29), (0.34, 3, 1), (0.0, 9, 0)]
)
def test_how_many_values_are_dropped_at_each_end(share, sites, cut):
    assert dropped(share, sites) == cut


@pytest.mark.parametrize("share", [-0.1, 0.5, 1.0, math.nan])
def test_a_share_that_leaves_nothing_is_refused(share):
    with pytest.raises(ValueError, match="both ends"):
        TrimmedMean(SHAPES, share)


def test_the_mean_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="0 updates"):
        TrimmedMean({"w": (1,)}, 0.2).mean()
    combiner = TrimmedMean({"w": (1,)}, 0.5 - 1e-12)  # so near to one half that nothing of two is left
    combiner.add({"w": np.ones(1, np.int32)}, 1)
    combiner.add({"w": np.ones(1, np.int32)}, 1)
    with pytest.raises(ValueError, match="2 updates without 1 at each end"):
        combiner.mean()


@pytest.mark.parametrize("make", [WeightedSum, lambda shapes: TrimmedMean(shapes, 0.2)])
@pytest.mark.parametrize(
    ("codes", "count", "error"),
    [
        ({"w": np.zeros(3, np.int32)}, 0, RangeError),
        ({"w": np.zeros(3, np.int32)}, LARGEST_TOTAL_COUNT, RangeError),
        ({"w": np.zeros(1, np.int32)}, 1, ValueError),
        ({"w": np.zeros(3, np.int64)}, 1, ValueError),
        ({"v": np.zeros(3, np.int32)}, 1, ValueError),
        ({"w": np.full(3, LARGEST_CODE + 1, np.int32)}, 1, RangeError),
    ],
)
def test_both_combiners_refuse_a_bad_reply_and_add_nothing_of_it(make, codes, count, error):
    combiner: Combiner = make({"w": (3,)})
    combiner.add({"w": np.ones(3, np.int32)}, 2)
    with pytest.raises(error):
        combiner.add(codes, count)
    assert combiner.count == 2
    np.testing.assert_array_equal(combiner.mean()["w"], np.full(3, RESOLUTION))
