import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import kolmogorov
from scipy.stats import ks_2samp, kstest

from ra_core.thresholds import EDGES, Histogram
from ra_core.thresholds.drift import drift, least_ks

scores = st.lists(st.floats(0, 100), min_size=1, max_size=60)


def of(values, least=1):
    return Histogram.of(values, min(least, len(values)))


@given(scores, scores, st.integers(1, 8))
def test_the_difference_of_the_scores_is_within_the_bound(reference, later, least):
    found = drift(of(reference, least), of(later, least))
    places = np.sort(reference + later)  # as of `ks_2samp`, which warns of its own chances for a few scores
    shares = [np.searchsorted(np.sort(values), places, side="right") / len(values) for values in (reference, later)]
    assert np.abs(shares[0] - shares[1]).max() <= found.ks + found.ks_bound + 1e-12
    assert found.ks_bound >= 0


def test_where_cells_lose_nothing_difference_and_chance_are_those_of_the_scores():
    rng = np.random.default_rng(0)
    reference, later = EDGES[rng.integers(550, 650, 300)], EDGES[rng.integers(560, 660, 200)]
    found, exact = drift(of(reference), of(later)), ks_2samp(reference, later, method="asymp")
    assert found.ks == pytest.approx(exact.statistic)
    assert found.ks_p == pytest.approx(exact.pvalue, rel=0.2)


@given(scores, st.integers(1, 5))
def test_equal_scores_have_not_moved(values, least):
    found = drift(of(values, least), of(values, least))
    assert (found.ks, found.psi, found.ks_p, found.psi_p) == (0, 0, 1, 1)
    assert not found.higher


def test_without_a_change_small_chances_are_as_rare_as_they_say():
    rng = np.random.default_rng(1)
    found = [drift(of(rng.gamma(3, 1, 400)), of(rng.gamma(3, 1, 150))) for _ in range(400)]
    psi, ks = np.array([(one.psi_p, one.ks_p) for one in found]).T
    assert kstest(psi, "uniform").statistic < 0.1
    assert (ks < 0.05).mean() < 0.08  # cells and the asymptotic formula make them larger than they are
    assert 0.01 < (psi < 0.05).mean() < 0.09


@pytest.mark.parametrize(("change", "higher"), [(1.3, True), (0.7, False)])
def test_a_change_is_seen_and_in_which_direction(change, higher):
    rng = np.random.default_rng(2)
    found = drift(of(rng.gamma(3, 1, 300), 5), of(change * rng.gamma(3, 1, 200), 5))
    assert max(found.ks_p, found.psi_p) < 0.01
    assert found.psi > 0.1
    assert found.higher is higher
    assert (found.n_reference, found.n) == (300, 200)


def test_later_scores_above_a_reference_that_is_all_equal_are_seen():
    found = drift(of([1.0] * 50), of([5.0] * 50))
    assert found.psi > 1
    assert found.psi_p < 1e-6
    assert (found.ks, found.higher) == (1, True)


def test_the_least_difference_has_the_chance_asked():
    for n in (5, 40, 300):
        assert kolmogorov(np.sqrt(60 * n / (60 + n)) * least_ks(60, n, 0.01)) == pytest.approx(0.01)
    assert least_ks(60, 1, 0.01) == 1


def test_what_cells_hide_is_told():
    found = drift(of([1.0, 2.0, 3.0, 4.0]), of([1.0, 2.0]))
    assert (found.ks, found.ks_bound) == (0.5, 0.25)
    assert found.told_ks == "KS 0.50 (at most 0.25 more by cells)"
    assert found.model_copy(update={"ks_bound": 0.041}).told_ks == "KS 0.50 (at most 0.05 more by cells)"
    assert found.model_copy(update={"ks_bound": 0.0}).told_ks == "KS 0.50"


def test_one_score_tells_little():
    found = drift(of([1.0, 2.0, 3.0]), of([2.0]))
    assert found.ks_p > 0.5
    assert found.psi_p > 0.5


def test_there_have_to_be_scores():
    for pair in (([], [1.0]), ([1.0], [])):
        with pytest.raises(ValueError, match="no scores"):
            drift(*map(Histogram.of, pair))
