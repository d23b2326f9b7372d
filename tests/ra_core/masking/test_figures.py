"""A masked sum of figures has the bits of the plain one."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from masked import Round, make_terms

from ra_core.errors import MaskingError
from ra_core.fixed_point import LARGEST_TOTAL_COUNT, WeightedSum, encode
from ra_core.masking import Figures, Totals, round_layout
from ra_core.masking.figures import COUNTS, LARGEST_METRIC

SHAPES = {"decoder.w": (2, 2), "encoder.b": ()}
METRICS = ("error", "validation_error")
SITES = 4
LAYOUT = round_layout(SHAPES, METRICS, SITES)
MOST = LARGEST_TOTAL_COUNT // SITES

weights = st.floats(-8, 8, width=32)
figures = st.builds(
    lambda w, b, counts, metrics: Figures(
        {"decoder.w": encode(np.array(w).reshape(2, 2)), "encoder.b": encode(np.array(b))},
        dict(zip(COUNTS, counts, strict=True)),
        dict(zip(METRICS, metrics, strict=True)),
    ),
    st.lists(weights, min_size=4, max_size=4),
    weights,
    st.lists(st.integers(1, MOST), min_size=len(COUNTS), max_size=len(COUNTS)),
    st.lists(st.floats(-LARGEST_METRIC, LARGEST_METRIC), min_size=2, max_size=2),
)


def some(**changed):
    update = {"decoder.w": encode(np.full((2, 2), 0.5)), "encoder.b": encode(np.array(-0.25))}
    given_ = {"update": update, "counts": dict.fromkeys(COUNTS, 10), "metrics": {"error": 0.5, "validation_error": 0.1}}
    return Figures(**(given_ | changed))


def same(found, plain):
    return {n: a.tobytes() for n, a in found.mean().items()} == {n: a.tobytes() for n, a in plain.mean().items()}


@settings(max_examples=25, deadline=None)
@given(st.lists(figures, min_size=SITES, max_size=SITES), st.sampled_from([(), ("site01",)]))
def test_masked_and_plain_means_have_the_same_bits(given_, dropped):
    terms = make_terms(SITES, 3, LAYOUT)
    by_site = dict(zip(terms.sites, given_, strict=True))
    packed = {site: one.pack(LAYOUT) for site, one in by_site.items()}
    total, survivors = Round(terms, {"dealt": set(dropped)}).total(packed)
    found = Totals.unpack(LAYOUT, total, len(survivors))
    plain, left = WeightedSum(SHAPES), [by_site[site] for site in survivors]
    for one in left:
        plain.add(one.update, one.counts["n_images"])
    assert same(found.update, plain)
    assert found.update.count == plain.count
    assert found.counts == {name: sum(one.counts[name] for one in left) for name in COUNTS}
    for name, weight in (("error", "n_images"), ("validation_error", "n_val")):
        exact = sum(round(Fraction(one.metrics[name]) * 2**24) * one.counts[weight] for one in left)
        assert found.metrics[name] == float(Fraction(exact, found.counts[weight] * 2**24))
        mean = math.fsum(one.metrics[name] * one.counts[weight] for one in left) / found.counts[weight]
        assert found.metrics[name] == pytest.approx(mean, rel=1e-9, abs=2**-24)


def test_the_closing_exchange_has_no_update():
    layout = round_layout({}, ["validation_error"], 3)
    words = some(update={}, metrics={"validation_error": 0.25}).pack(layout)
    found = Totals.unpack(layout, words + words, 2)
    assert (found.counts["n_val"], found.metrics) == (20, {"validation_error": 0.25})


@pytest.mark.parametrize("values", [(2.0, -1.0, -1.0), (-2.0, 1.0, 1.0), (2.0**39, -(2.0**39), 0.0)])
def test_the_unmasked_sum_shows_no_more_than_the_mean(values):
    """Not how many sites have a negative value, nor the sum of the lower halves."""
    layout = round_layout({}, ["kl_gap"], 3)
    terms = make_terms(3, 3, layout)

    def opened(metrics):
        counts = dict.fromkeys(COUNTS, 10)
        given_ = {s: Figures({}, counts, {"kl_gap": v}).pack(layout) for s, v in zip(terms.sites, metrics, strict=True)}
        return Round(terms).total(given_)[0]

    np.testing.assert_array_equal(opened(values), opened((0.0, 0.0, 0.0)))


def test_a_metric_that_a_site_lacks_weighs_nothing():
    lacking, whole = (some(metrics=metrics).pack(LAYOUT) for metrics in ({"error": 0.5}, some().metrics))
    assert Totals.unpack(LAYOUT, lacking + whole, 2).metrics == {"error": 0.5, "validation_error": pytest.approx(0.1)}
    assert Totals.unpack(LAYOUT, lacking + lacking, 2).metrics == {"error": 0.5}


def test_the_largest_figures_of_all_sites_fit():
    for sites in (3, 32, 1000):
        layout = round_layout({"w": (1,)}, ["error"], sites)
        layout.require_room(sites)
        most = LARGEST_TOTAL_COUNT // sites
        one = Figures({"w": encode(np.array([-8.0]))}, dict.fromkeys(COUNTS, most), {"error": -LARGEST_METRIC})
        found = Totals.unpack(layout, one.pack(layout) * np.uint64(sites), sites)
        assert found.update.mean()["w"].tolist() == [-8.0]
        assert found.metrics["error"] == -LARGEST_METRIC


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"update": {}}, "can't be masked"),
        ({"update": {"decoder.w": np.zeros((2, 2), np.int32), "encoder.b": np.array(2**28, np.int32)}}, "beyond 8"),
        ({"counts": dict.fromkeys(COUNTS, MOST + 1)}, "out of its range"),
        ({"counts": dict.fromkeys(COUNTS, 10) | {"n_val": 0}}, "out of its range"),
        ({"counts": {"n_images": 3}}, "counts are not"),
        ({"metrics": {"error": 1.0, "score": 1.0}}, "not those of the layout"),
        ({"metrics": {"error": math.nan, "validation_error": 0.1}}, "'error' is not finite"),
        ({"metrics": {"error": 1.0, "validation_error": -math.inf}}, "'validation_error' is not finite"),
    ],
)
def test_bad_figures_are_refused_at_the_site(changed, why):
    with pytest.raises(MaskingError, match=why):
        some(**changed).pack(LAYOUT)


def test_an_update_larger_than_its_images_allow_shows_in_the_sum():
    """One site has 10 images and claims the weight of a thousand; each word is within what a site may give."""
    honest, words = some().pack(LAYOUT), some(counts=dict.fromkeys(COUNTS, 1000)).pack(LAYOUT)
    words[:5] *= np.uint64(16 * 4)
    words[5] = 10
    Totals.unpack(LAYOUT, honest + honest, 2)
    with pytest.raises(MaskingError, match="beyond 8"):
        Totals.unpack(LAYOUT, honest + words, 2)
