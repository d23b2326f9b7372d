import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_auc_score

from ra_core.thresholds import EDGES, Histogram, merged
from ra_core.thresholds.figures import NO_SPREAD, Binned, auprc, auroc, rate_above, share_interval, within_sites

HAIR = 1e-12


def binned(scores, rng):
    """Of up to three sites, each with its own least count."""
    parts = [part for part in np.array_split(rng.permutation(scores), rng.integers(1, 4)) if len(part)]
    return merged(Histogram.of(part, min(int(rng.integers(1, 12)), len(part))) for part in parts)


def case(seed):
    """Scores of healthy and sick patients with many ties or few, from one patient each to 150, and their cells."""
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, rng.choice([3, 30, 150]) + 1, 2)
    digits = rng.integers(0, 6)
    healthy = np.round(rng.gamma(3.0, 1.0, n), digits)
    anomalous = np.round(rng.gamma(rng.uniform(0.5, 8), 1.0, m), digits)
    return healthy, anomalous, binned(healthy, rng), binned(anomalous, rng)


def exact(metric, healthy, anomalous):
    return metric(np.repeat([0, 1], [len(healthy), len(anomalous)]), np.concatenate([healthy, anomalous]))


@pytest.mark.parametrize(("ours", "theirs"), [(auroc, roc_auc_score), (auprc, average_precision_score)])
def test_the_exact_number_is_within_the_bound_in_a_thousand_cases(ours, theirs):
    bounds = []
    for seed in range(1000):
        healthy, anomalous, h, a = case(seed)
        found = ours(h, a)
        assert abs(found.value - exact(theirs, healthy, anomalous)) <= found.bound + HAIR, seed
        assert (found.n_healthy, found.n_anomalous) == (len(healthy), len(anomalous))
        assert found.low <= found.value <= found.high
        bounds.append(found.bound)
    assert min(bounds) == 0
    assert max(bounds) > 0.3  # the bound is put to the test


@pytest.mark.parametrize("ours", [auroc, auprc])
def test_with_many_patients_and_cells_of_one_score_the_bound_is_small(ours):
    rng = np.random.default_rng(0)
    h, a = Histogram.of(rng.gamma(3, 1, 300)), Histogram.of(rng.gamma(6, 1, 300))
    assert 0 < ours(h, a).bound < 0.01


cells = st.lists(
    st.tuples(st.integers(500, 505), st.integers(0, 3), st.integers(1, 2)), min_size=1, max_size=3, unique=True
)


def placed(histogram, rng):
    """Scores that have these cells."""
    first, last, counts = histogram.columns()
    cell = rng.integers(np.repeat(first, counts), np.repeat(last, counts) + 1)
    return EDGES[cell - 1] + (EDGES[cell] - EDGES[cell - 1]) * rng.choice([0.01, 0.5, 1.0], len(cell))


@given(cells, cells, st.integers(0, 2**32 - 1))
def test_wherever_scores_lie_in_overlapping_cells_the_bounds_hold(healthy, anomalous, seed):
    rng = np.random.default_rng(seed)
    h, a = (merged(Histogram(((f, f + more, count),)) for f, more, count in of) for of in (healthy, anomalous))
    for ours, theirs in ((auroc, roc_auc_score), (auprc, average_precision_score)):
        found = ours(h, a)
        for _ in range(5):
            assert abs(found.value - exact(theirs, placed(h, rng), placed(a, rng))) <= found.bound + HAIR


def test_the_highest_average_precision_is_reached():
    """The sick one of the wide cell is best off low, among the others: alone above them its precision is 1 / 3."""
    h, a = Histogram(((610, 610, 2),)), merged([Histogram(((500, 600, 1),)), Histogram(((550, 550, 9),))])
    found = auprc(h, a)
    assert found.value + found.bound == pytest.approx(10 / 12)


def delong(healthy, anomalous):
    """Standard error after DeLong et al. 1988, from all pairs of scores."""
    won = (anomalous[:, None] > healthy) + (anomalous[:, None] == healthy) / 2
    return np.sqrt(won.mean(1).var(ddof=1) / len(anomalous) + won.mean(0).var(ddof=1) / len(healthy))


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_of_an_auroc_is_delongs(seed):
    rng = np.random.default_rng(seed)  # each score is an edge, so that cells lose nothing but ties
    healthy, anomalous = EDGES[rng.integers(550, 620, 40)], EDGES[rng.integers(570, 660, 25)]
    h, a = Histogram.of(healthy), Histogram.of(anomalous)
    found, half = auroc(h, a), 1.959964 * delong(healthy, anomalous)
    assert (found.low, found.high) == pytest.approx((max(0, found.value - half), min(1, found.value + half)))


def test_the_interval_of_an_average_precision_is_logit_normal():
    rng = np.random.default_rng(0)
    found = auprc(Histogram.of(rng.gamma(3, 1, 80)), Histogram.of(rng.gamma(5, 1, 50)))
    logit = np.log(found.value / (1 - found.value))
    half = 1.959964 / np.sqrt(50 * found.value * (1 - found.value))
    assert (found.low, found.high) == pytest.approx(tuple(1 / (1 + np.exp(-(logit + s * half))) for s in (-1, 1)))


def test_perfect_separation_has_an_interval_that_says_it_means_nothing():
    h, a = Histogram.of([1.0, 2.0, 3.0]), Histogram.of([5.0, 6.0])
    for found in (auroc(h, a), auprc(h, a)):
        assert (found.value, found.bound, found.note) == (1.0, 0.0, NO_SPREAD)


def test_one_patient_of_a_class_is_told():
    found = auroc(Histogram.of([1.0, 2.0, 3.0]), Histogram.of([2.5]))
    assert (found.value, found.note) == (pytest.approx(2 / 3), "the interval is too narrow: one patient of a class")


@pytest.mark.parametrize("metric", [auroc, auprc])
@pytest.mark.parametrize(
    ("healthy", "anomalous", "told"),
    [
        ([1.0], [], "not estimable: no anomalous patients"),
        ([], [1.0], "not estimable: no healthy patients"),
        ([], [], "not estimable: no healthy and no anomalous patients"),
    ],
)
def test_one_class_is_not_estimable(metric, healthy, anomalous, told):
    found = metric(Histogram.of(healthy), Histogram.of(anomalous))
    assert (found.value, found.low, found.high, found.note) == (None, None, None, told)
    assert (found.n_healthy, found.n_anomalous) == (len(healthy), len(anomalous))


@given(st.integers(1, 300), st.data())
def test_the_interval_of_a_share_is_that_of_clopper_and_pearson(n, data):
    count = data.draw(st.integers(0, n))
    theirs = binomtest(count, n).proportion_ci(0.95, method="exact")
    assert share_interval(count, n) == pytest.approx((theirs.low, theirs.high))


@given(st.lists(st.floats(0, 10), min_size=1, max_size=80), st.integers(400, 700), st.integers(1, 5))
def test_a_rate_above_an_edge_is_within_its_bound(scores, place, least):
    edge, share = EDGES[place], np.mean(np.array(scores) > EDGES[place])
    found = rate_above(Histogram.of(scores), edge)
    assert (found.value, found.bound) == (share, 0)
    assert (found.low, found.high) == share_interval(round(share * len(scores)), len(scores))
    coarse = rate_above(Histogram.of(scores, min(least, len(scores))), edge)
    assert abs(coarse.value - share) <= coarse.bound + HAIR


def test_a_rate_counts_whom_it_is_of():
    found = rate_above(Histogram.of([1.0, 2.0]), 1.0, anomalous=True)
    assert (found.value, found.n_healthy, found.n_anomalous) == (0.5, 0, 2)
    assert rate_above(Histogram.of([]), 1.0).note == "not estimable: no healthy patients"
    assert rate_above(Histogram.of([]), 1.0, anomalous=True).note == "not estimable: no anomalous patients"


def test_within_sites_every_site_counts_the_same():
    a = Binned(value=0.9, bound=0.02, low=0.8, high=1.0, n_healthy=10, n_anomalous=10)
    b = Binned(value=0.7, bound=0.04, low=0.6, high=0.8, n_healthy=1000, n_anomalous=500)
    found = within_sites({"b": b, "a": a})
    assert (found.value, found.bound) == (pytest.approx(0.8), pytest.approx(0.03))
    half = np.hypot(0.1, 0.1) / 2
    assert (found.low, found.high) == (pytest.approx(0.8 - half), pytest.approx(0.8 + half))
    assert (found.n_healthy, found.n_anomalous) == (1010, 510)
    assert found.note == "within sites: mean over 2 sites, each counting the same"
    assert within_sites({"a": a, "b": b}) == found


@pytest.mark.parametrize(
    "unsure",
    [
        auroc(Histogram.of([1.0, 2.0, 3.0]), Histogram.of([5.0, 6.0])),  # no spread
        auroc(Histogram.of([1.0, 2.0, 3.0]), Histogram.of([2.5])),  # one patient of a class
        auprc(Histogram.of([1.0, 2.0, 3.0]), Histogram.of([5.0, 6.0])),
    ],
)
def test_without_a_sites_interval_the_mean_has_none_and_says_why(unsure):
    a = auroc(Histogram.of([1.0, 2.0, 4.0]), Histogram.of([1.5, 3.0, 5.0]))
    found = within_sites({"south": a, "north": unsure})
    assert (found.value, found.low, found.high) == (pytest.approx((a.value + unsure.value) / 2), None, None)
    assert found.note.endswith("each counting the same; no interval, since none can be trusted of north")


def test_sites_with_one_class_are_left_out_by_name_and_never_averaged_in():
    a = auroc(Histogram.of([1.0, 2.0]), Histogram.of([1.5, 3.0]))
    one_class = auroc(Histogram.of([1.0, 2.0]), Histogram.of([]))
    found = within_sites({"west": one_class, "north": a, "east": one_class})
    assert (found.value, found.n_healthy) == (a.value, a.n_healthy)
    assert found.note.endswith("mean over 1 sites, each counting the same; left out as not estimable: east, west")
    none = within_sites({"east": one_class})
    assert (none.value, none.low) == (None, None)
    assert none.note == "not estimable at any site; left out as not estimable: east"


def test_across_sites_a_shift_between_scanners_changes_what_no_hospital_sees():
    rng = np.random.default_rng(1)
    pairs = [(shift + rng.gamma(3, 1, 100), shift + rng.gamma(6, 1, 100)) for shift in (0, 30)]
    cells = [(Histogram.of(h), Histogram.of(a)) for h, a in pairs]
    within = within_sites({str(place): auroc(*found) for place, found in enumerate(cells)})
    across = auroc(*map(merged, zip(*cells, strict=True)))
    assert within.value > across.value + 0.1
