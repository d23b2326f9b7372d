import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from ra_core.thresholds import conformal_threshold, expected_range, patients_needed
from ra_core.thresholds.conformal import rank

rates = st.sampled_from([0.01, 0.05, 0.1, 0.2, 1 / 3, 0.5])
scores = st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=120)


@given(st.integers(2, 400), st.integers(0, 3))
def test_the_fewest_patients_are_those_with_which_there_is_a_threshold(k, outliers):
    needed = patients_needed(1 / k, outliers)
    assert rank(needed, 1 / k) <= needed - outliers
    assert rank(needed - 1, 1 / k) > needed - 1 - outliers


def test_nineteen_patients_allow_five_percent_and_thirty_nine_bear_an_outlier():
    assert [patients_needed(rate) for rate in (0.05, 0.01, 0.3)] == [19, 99, 3]
    assert patients_needed(0.05, outliers=1) == 39


@given(scores, rates)
def test_order_doesnt_matter_and_shifts_and_scales_go_through(values, rate):
    found = conformal_threshold(values, rate, "slice").value
    assert conformal_threshold(values[::-1], rate, "slice").value == found
    moved = conformal_threshold(2 * np.array(values) + 1, rate, "slice").value
    assert moved == (None if found is None else 2 * found + 1)


@given(scores)
def test_a_higher_rate_has_no_higher_threshold(values):
    found = [conformal_threshold(values, rate, "slice").value for rate in (0.05, 0.1, 0.2, 0.5)]
    known = [value for value in found if value is not None]
    assert known == sorted(known, reverse=True)
    assert found[len(found) - len(known) :] == known  # who can promise a rate can promise every higher one


@given(st.integers(1, 200), rates)
def test_where_all_scores_are_equal_that_is_the_threshold_and_nobody_is_above(n, rate):
    found = conformal_threshold([7.0] * n, rate, "study")
    assert found.value == (7.0 if n >= patients_needed(rate) else None)


def test_one_patient_promises_nothing_below_half():
    found = conformal_threshold([1.0], 0.05, "slice")
    assert (found.value, found.low, found.note) == (None, None, "not enough patients: 1 of 19 needed")
    assert conformal_threshold([1.0], 0.5, "slice").value == 1.0


def test_an_outlier_among_enough_healthy_patients_changes_nothing():
    healthy = np.linspace(1, 2, 39)
    spoiled = np.append(healthy[:-1], 1e6)
    assert conformal_threshold(spoiled, 0.05, "slice").value == conformal_threshold(healthy, 0.05, "slice").value
    assert "rests on the highest" in conformal_threshold(healthy[:38], 0.05, "slice").note


@pytest.mark.parametrize("n", [19, 40, 150])
def test_the_promise_holds_over_random_draws_within_binomial_error(n):
    rng, draws = np.random.default_rng(0), 4000
    alarms = 0
    for _ in range(draws):
        *healthy, new = rng.gamma(2.0, size=n + 1)
        alarms += new > conformal_threshold(healthy, 0.05, "slice").value
    assert alarms <= binom.ppf(0.999, draws, 0.05)
    assert alarms >= binom.ppf(0.001, draws, 1 - rank(n, 0.05) / (n + 1))  # and it isn't far too careful


@pytest.mark.parametrize("n", [19, 40, 150])
def test_the_promise_holds_with_scores_that_are_often_tied(n):
    """Five values, the two highest so rare that the threshold is now this one and now that."""
    rng, draws = np.random.default_rng(2), 4000
    scores = rng.choice(5, (draws, n + 1), p=[0.3, 0.3, 0.3, 0.06, 0.04])
    thresholds = np.array([conformal_threshold(row[:-1], 0.05, "slice").value for row in scores])
    assert len(np.unique(thresholds)) > 1
    assert (scores[:, -1] > thresholds).sum() <= binom.ppf(0.999, draws, 0.05)


@pytest.mark.parametrize("n", [19, 60, 199])
def test_the_achieved_rate_lies_in_the_expected_range_as_often_as_said(n):
    rng, low, high = np.random.default_rng(1), *expected_range(n, 0.05)
    achieved = np.array([1 - conformal_threshold(rng.random(n), 0.05, "slice").value for _ in range(4000)])
    inside = ((achieved >= low) & (achieved <= high)).sum()
    assert binom.ppf(0.001, 4000, 0.95) <= inside <= binom.ppf(0.999, 4000, 0.95)


def test_no_range_where_nothing_is_promised():
    with pytest.raises(ValueError, match="19 are needed"):
        expected_range(18, 0.05)


@pytest.mark.parametrize("bad", [[np.nan], [np.inf], [[1.0]]])
def test_numbers_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        conformal_threshold(bad, 0.05, "slice")
