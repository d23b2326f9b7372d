"""Thresholds and figures from histograms: of the sites alone, whatever their order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ra_core.thresholds import EDGES, Histogram, conformal_threshold, patients_needed
from ra_core.thresholds.federation import ByClass, false_alarms, figures, reference_of, thresholds
from ra_core.thresholds.record import Achieved

SCORES = st.lists(st.floats(0.001, 1e4), max_size=30)
SITES = st.dictionaries(st.sampled_from("abcde"), SCORES, min_size=1)
NONE = Histogram(())


def told(sites, rate=0.1):
    histograms = {site: Histogram.of(scores) for site, scores in sites.items()}
    reference = reference_of(histograms, rate)
    return reference, thresholds(histograms, reference, rate, "study")


@given(SITES, st.randoms(use_true_random=False))
def test_the_order_of_the_sites_does_not_matter(sites, rng):
    names = list(sites)
    rng.shuffle(names)
    assert told({name: sites[name] for name in names}) == told(sites)


@given(SITES)
def test_thresholds_are_published_edges_at_most_a_cell_too_high(sites):
    reference, found = told(sites)
    assert [site.site for site in found] == sorted(sites)
    assert reference is None or reference.pooled is None or reference.pooled in EDGES
    for site in found:
        exact = conformal_threshold(sites[site.site], 0.1, "study").value
        assert (site.local.value is None) == (exact is None)
        assert exact is None or exact <= site.local.value <= exact * 1.0233
        assert site.shrunken is None or site.shrunken in EDGES


@pytest.mark.parametrize(("n", "least"), [(40, 1), (20, 5), (40, 2), (59, 2), (118, 5), (119, 5), (218, 10), (219, 10)])
def test_a_threshold_in_the_joined_cell_of_the_highest_score_says_that_an_outlier_drags_it(n, least):
    healthy = np.geomspace(1e-2, 1e2, n)  # each in a published cell of its own
    found, dragged = (
        thresholds({"a": Histogram.of([*healthy[:-1], top], least)}, None, 0.05, "study")[0].local for top in (1e2, 1e6)
    )
    assert (dragged.value > 2 * found.value) == bool(dragged.note)
    enough = patients_needed(0.05, outliers=least)
    assert bool(dragged.note) == (least > 1 and n < enough)
    if dragged.note:
        assert dragged.note == (
            f"rests on the joined cell of the {least} highest scores: {enough} patients would bear an outlier there"
        )


def test_no_site_with_four_scores_is_no_reference():
    reference, (site,) = told({"a": [1.0, 2.0, 3.0]})
    assert (reference, site.shrunken, site.drift) == (None, None, None)
    assert site.local.note == "not enough patients: 3 of 9 needed"


def test_a_shrunken_threshold_above_all_edges_is_none():
    high = np.linspace(9e5, 1e6, 40)
    _, found = told({"a": [*high[:-4], *[1e6] * 4], "b": np.geomspace(1e-3, 1e6, 40)})
    assert all(site.shrunken is None or np.isfinite(site.shrunken) for site in found)
    assert any(site.shrunken is None for site in found)


def test_drift_is_against_all_other_sites():
    rng = np.random.default_rng(0)
    _, found = told({"a": rng.gamma(4, size=60), "b": rng.gamma(4, size=60), "c": 9 * rng.gamma(4, size=60)})
    assert [site.drift.n_reference for site in found] == [120] * 3
    assert found[2].drift.ks > 0.8 > found[0].drift.ks


def test_achieved_rates_have_an_interval():
    found = Achieved.of(2.0, 0, 20)
    assert (found.low, found.above, found.n) == (0.0, 0, 20)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 20))


def by_class(healthy, anomalous, threshold):
    return ByClass(Histogram.of(healthy), Histogram.of(anomalous), threshold)


def test_figures_are_of_sites_within_and_across():
    sites = {"a": by_class([1.0, 1.5], [3.0, 1.2], 2.0), "b": by_class([10.0, 15.0], [30.0, 12.0], 20.0)}
    found = {(figure.metric, figure.where): figure.number for figure in figures(sites, {"c": "not connected"})}
    assert found["auroc", "a"].value == found["auroc", "b"].value == found["auroc", "within sites"].value == 0.75
    assert found["auroc", "across sites"].value == 10 / 16
    assert found["auroc", "c"].note == "not estimable: not connected"
    assert "left out as not estimable: c" in found["auroc", "within sites"].note
    assert found["detection_rate", "across sites"].value == 0.5
    assert found["detection_rate", "across sites"].n_anomalous == 4


def test_without_a_threshold_no_detection_rate():
    found = figures({"a": by_class([1.0], [3.0], None)}, {})
    rates = {figure.where: figure.number for figure in found if figure.metric == "detection_rate"}
    assert {number.value for number in rates.values()} == {None}


def test_across_sites_it_is_said_whose_patients_they_are_who_has_one_class_and_who_is_left_out():
    sites = {
        "a": by_class([1.0, 1.5], [3.0, 1.2], 2.0),
        "b": by_class([1.0, 1.5], [], 2.0),
        "d": by_class([1.0], [1.2, 3.0], None),
        "e": by_class([], [], 2.0),
    }
    found = {(figure.metric, figure.where): figure.number for figure in figures(sites, {"c": "its policy"})}
    across = found["auroc", "across sites"]
    assert (across.n_healthy, across.n_anomalous) == (5, 4)
    assert across.note.endswith(
        "; of a, b, d; one class alone at b (no anomalous patients); "
        "left out c (its policy), e (no healthy and no anomalous patients)"
    )
    detected = found["detection_rate", "across sites"]
    assert detected.n_anomalous == 2
    assert detected.note.endswith(
        "; of a; left out b (no anomalous patients), c (its policy), d (no shrunken threshold), "
        "e (no anomalous patients)"
    )


def test_rates_of_false_alarms_are_of_sites_within_and_across():
    rates = {"a": Achieved.of(1.0, 1, 20), "b": Achieved.of(9.0, 9, 60)}
    found = {figure.where: figure.number for figure in false_alarms(rates, {"c": "its policy"})}
    assert (found["a"].value, found["b"].value) == (0.05, 0.15)
    assert found["within sites"].value == pytest.approx(0.1)
    assert "mean over 2 sites, each counting the same; left out as not estimable: c" in found["within sites"].note
    assert (found["across sites"].value, found["across sites"].n_healthy) == (10 / 80, 80)
    assert "each held against that of the own site; of a, b; left out c (its policy)" in found["across sites"].note
    assert found["c"].note == "not estimable: its policy"
    assert false_alarms({}, {"c": "its policy"}) == ()


def test_nobody_tested_is_no_figure():
    assert figures({}, {"a": "its policy"}) == ()
