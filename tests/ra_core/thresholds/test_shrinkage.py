import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ra_core.thresholds import conformal_threshold
from ra_core.thresholds.shrinkage import consortium, own_weight, resting, shrunken

RATE = 0.05


def sites_of(seed, counts=(15, 20, 40, 80, 200)):
    rng = np.random.default_rng(seed)
    return [rng.gamma(3.0, size=n) * rng.uniform(0.5, 2) + rng.uniform(0, 3) for n in counts]


seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(("n", "weight"), [(0, 0.0), (20, 0.5), (60, 0.75), (180, 0.9)])
def test_a_sites_weight_is_that_of_the_formula(n, weight):
    assert own_weight(n, RATE) == pytest.approx(weight)
    assert own_weight(n, RATE) == pytest.approx(n / (n + 1 / RATE))  # credibility Z = n / (n + K), K = 1 / rate


@pytest.mark.parametrize("n", [4, 19, 40, 200])
def test_a_shrunken_threshold_is_the_weighted_mean_of_own_and_brought(n):
    values = np.sort(np.random.default_rng(n).gamma(3.0, size=n))
    reference = consortium(sites_of(1), RATE)
    own = conformal_threshold(values, RATE, "slice").value or values[-1]
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    w = n * RATE / (n * RATE + 1)
    brought = middle + (w * (high - low) + (1 - w) * reference.spread) * reference.z
    assert shrunken(values, reference) == pytest.approx(w * own + (1 - w) * brought)
    assert min(own, brought) - 1e-12 <= shrunken(values, reference) <= max(own, brought) + 1e-12


@given(seeds, st.sampled_from([0.25, 1.0, 8.0]), st.sampled_from([0.0, 1.0, 64.0]))
def test_shifts_and_scales_of_all_scores_go_through(seed, scale, shift):
    sites = sites_of(seed)
    moved = [scale * values + shift for values in sites]
    before, after = consortium(sites, RATE), consortium(moved, RATE)
    assert after.pooled == pytest.approx(scale * before.pooled + shift)
    assert after.spread == pytest.approx(scale * before.spread)
    assert after.z == pytest.approx(before.z)
    for values, other in zip(sites, moved, strict=True):
        assert shrunken(other, after) == pytest.approx(scale * shrunken(values, before) + shift)


@given(seeds, st.floats(0, 50))
def test_a_scanner_that_adds_something_to_one_site_moves_its_threshold_alone(seed, shift):
    sites = sites_of(seed)
    moved = [sites[0] + shift, *sites[1:]]
    before, after = consortium(sites, RATE), consortium(moved, RATE)
    assert shrunken(moved[0], after) == pytest.approx(shrunken(sites[0], before) + shift)
    assert shrunken(sites[1], after) == pytest.approx(shrunken(sites[1], before))


@given(seeds, st.randoms(use_true_random=False))
def test_order_of_sites_and_of_scores_doesnt_matter(seed, random):
    sites = sites_of(seed)
    shuffled = [np.array(random.sample(values.tolist(), len(values))) for values in random.sample(sites, len(sites))]
    assert consortium(shuffled, RATE) == consortium(sites, RATE)
    reference = consortium(sites, RATE)
    assert shrunken(sites[2][::-1], reference) == shrunken(sites[2], reference)


@given(seeds)
def test_one_outlier_of_a_large_site_changes_little(seed):
    sites = sites_of(seed)
    spoiled = [*sites[:-1], np.append(np.sort(sites[-1])[:-1], 1e6)]
    before, after = consortium(sites, RATE), consortium(spoiled, RATE)
    assert abs(shrunken(spoiled[-1], after) - shrunken(sites[-1], before)) < 0.1 * np.ptp(sites[-1])


@given(seeds)
def test_an_outlier_anywhere_moves_other_sites_by_one_rank_at_most(seed):
    sites = sites_of(seed)
    spoiled = [np.append(sites[0], 1e6), *sites[1:]]
    before, after = (consortium(found, RATE) for found in (sites, spoiled))
    highest = np.sort(np.concatenate(sites))
    assert before.pooled <= after.pooled <= highest[np.searchsorted(highest, before.pooled) + 1]
    assert abs(shrunken(sites[-1], after) - shrunken(sites[-1], before)) < 0.2 * np.ptp(sites[-1])


@pytest.mark.parametrize(("n", "part"), [(5, 20), (18, 47), (19, 49), (38, 66)])
def test_as_much_rests_on_the_highest_score_as_an_outlier_drags(n, part):
    assert resting(n, RATE) == f"{part} % of it rest on the highest score alone: 39 patients would bear an outlier"
    healthy, reference = np.linspace(1, 2, n), consortium(sites_of(1), RATE)
    spoiled = np.append(healthy[:-1], 1002)
    dragged = shrunken(spoiled, reference) - shrunken(healthy, reference)
    assert dragged == pytest.approx(1000 * own_weight(n, RATE))


def test_enough_patients_bear_an_outlier():
    healthy, reference = np.linspace(1, 2, 39), consortium(sites_of(1), RATE)
    assert resting(39, RATE) == ""
    assert shrunken(np.append(healthy[:-1], 1002), reference) == pytest.approx(shrunken(healthy, reference))


def test_a_higher_rate_may_raise_a_shrunken_threshold():
    others, own = [np.linspace(1, 2, 100)] * 3, np.append(np.linspace(1, 2, 29), 50.0)
    low, high = (shrunken(own, consortium([*others, own], rate)) for rate in (0.02, 0.05))
    assert low < high


@pytest.mark.parametrize("n", [4, 5, 18])
def test_a_site_too_small_for_a_threshold_of_its_own_has_a_shrunken_one(n):
    values = sites_of(3)[2][:n]
    assert conformal_threshold(values, RATE, "slice").value is None
    assert np.median(values) < shrunken(values, consortium(sites_of(3), RATE))


@given(st.floats(0, 100), st.integers(4, 60))
def test_where_all_scores_are_equal_that_is_the_threshold(value, n):
    reference = consortium([[value] * n, [value] * 30], RATE)
    assert (reference.pooled, reference.z, reference.spread) == (value, None, 0.0)
    assert shrunken([value] * n, reference) == pytest.approx(value)


def test_where_most_scores_are_equal_the_pooled_threshold_is_brought():
    """All interquartile ranges are 0, though some scores are higher: the median would be far too low."""
    values = np.concatenate([np.zeros(80), np.linspace(0.05, 1, 20)])
    reference = consortium([values, values], RATE)
    assert reference.z is None
    assert (values > shrunken(values, reference)).mean() <= RATE


def test_few_scores_have_no_threshold():
    reference = consortium(sites_of(4), RATE)
    assert shrunken(sites_of(4)[0][:3], reference) is None
    few = consortium([[1.0, 2.0, 3.0, 4.0]] * 4, RATE)
    assert (few.n, few.pooled, few.z) == (16, None, None)
    assert shrunken(sites_of(4)[0], few) is None


def test_sites_with_few_scores_are_left_out_of_the_reference():
    sites = sites_of(5)
    assert consortium([*sites, [9.0, 9.0, 9.0]], RATE) == consortium(sites, RATE)
    assert (consortium(sites, RATE).n, consortium(sites, RATE).sites) == (355, 5)


@pytest.mark.parametrize("bad", [[], [[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0, np.inf]], [[1.0, 2.0, np.nan, 3.0]]])
def test_no_reference_without_finite_scores(bad):
    with pytest.raises(ValueError, match="4 finite scores"):
        consortium(bad, RATE)


def test_scores_that_are_none_are_refused():
    with pytest.raises(ValueError, match="finite"):
        shrunken([1.0, 2.0, np.nan, 3.0], consortium(sites_of(6), RATE))
