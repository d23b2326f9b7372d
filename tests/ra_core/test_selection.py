import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ra_core.data import HeldImages
from ra_core.metrics import Estimate, Resampling
from ra_core.models.configs import RAConfig
from ra_core.models.registry import build_method
from ra_core.rng import generator
from ra_core.scoring import HealthyMoments, Scorer, ScoringConfig, image_scores
from ra_core.selection import choose_scoring, image_threshold, pixel_threshold, synthetic_auroc
from ra_core.site_scorer import SiteScorer, batches
from ra_core.synthetic import KINDS

CPU = torch.device("cpu")
SCORINGS = (
    ScoringConfig(name="residual", factors=("residual",)),
    ScoringConfig(name="top", factors=("residual",), smooth=2, pool="top"),
    ScoringConfig(name="standardised", factors=("residual",), standardise=True),
)


def pictures(n, seed=0):
    return torch.rand(n, 1, 32, 32, generator=generator(seed, "pictures"))


@pytest.fixture(scope="module")
def method():
    return build_method(RAConfig(channels=(4, 8, 8), latent=8), 32, 0)


@pytest.fixture(scope="module")
def site(method):
    return SiteScorer.fit(method, Scorer(None), SCORINGS, pictures(12, 1).split(5), CPU)


def test_batches_are_in_order_and_complete():
    images = HeldImages(pictures(7))
    found = list(batches(images, 3))
    assert [len(b) for b in found] == [3, 3, 1]
    assert torch.equal(torch.cat(found), images.x)
    assert torch.equal(torch.cat(list(batches(images, 2, [5, 0, 3]))), images.x[[5, 0, 3]])
    assert list(batches(images, 2, [])) == []


def test_a_site_scorer_is_the_scorer_on_the_methods_reconstruction(site, method):
    x = pictures(3)
    with torch.inference_mode():
        raw = Scorer(None).maps(x, method.eval().reconstruct(x), SCORINGS)
    found = site.maps(x)
    assert torch.equal(found["residual"], raw["residual"])
    assert torch.equal(found["standardised"], site.healthy["standardised"].standardise(raw["standardised"]))
    assert set(site.healthy) == {"standardised"}
    scores = site.scores(x.split(2))
    for s in SCORINGS:
        np.testing.assert_allclose(scores[s.name], image_scores(found[s.name], s), rtol=1e-5)


def test_healthy_statistics_do_not_depend_on_batches(site, method):
    one = SiteScorer.fit(method, Scorer(None), SCORINGS, [pictures(12, 1)], CPU).healthy["standardised"]
    residuals = (pictures(12, 1) - site.reconstruct(pictures(12, 1))).abs()
    by_hand = HealthyMoments().add(residuals[:, 0].numpy()).statistics(pictures(12, 1).mean((0, 1)).numpy())
    for other in (one, by_hand):
        np.testing.assert_allclose(other.mean, site.healthy["standardised"].mean, rtol=1e-5)
        np.testing.assert_allclose(other.spread, site.healthy["standardised"].spread, rtol=1e-4)
        assert np.array_equal(other.inside, site.healthy["standardised"].inside)


def test_a_standardised_scoring_needs_two_reference_images_and_a_plain_one_none(method):
    with pytest.raises(ValueError, match="1 healthy map"):
        SiteScorer.fit(method, Scorer(None), SCORINGS, [pictures(1)], CPU)
    assert SiteScorer.fit(method, Scorer(None), SCORINGS[:2], [], CPU).healthy == {}


def test_the_method_scores_in_evaluation_mode(method):
    SiteScorer(method.train(), Scorer(None), SCORINGS[:1], {}, CPU)
    assert not method.training


def test_the_scoring_with_the_highest_mean_is_chosen():
    values = {"residual": [0.9, 0.9, 0.5, 0.5, 0.5], "top": [0.7] * 5, "standardised": [0.6, 0.6, 0.6, 0.6, 1.0]}
    auroc = {
        (name, kind): Estimate(value, None, None, 5, 5)
        for name, found in values.items()
        for kind, value in zip(KINDS, found, strict=True)
    }
    chosen, means = choose_scoring(SCORINGS, auroc)
    assert chosen.name == "top"
    assert means == pytest.approx({name: np.mean(found) for name, found in values.items()})


def test_an_undefined_auroc_is_refused_with_its_reason():
    nothing = Estimate(None, None, None, 0, 0, "no images")
    with pytest.raises(ValueError, match="no images"):
        choose_scoring(SCORINGS, {(s.name, kind): nothing for s in SCORINGS for kind in KINDS})


@pytest.mark.parametrize("pixel_fpr", [0.01, 0.05, 0.5])
def test_the_stated_share_of_healthy_pixels_lies_above_the_threshold(site, pixel_fpr):
    with site.scored(pictures(6, 2).split(4)) as healthy:
        for s in SCORINGS:
            maps = healthy.maps(s.name)
            above = np.mean(maps > pixel_threshold(maps, pixel_fpr))
            assert above == pytest.approx(min(pixel_fpr, np.mean(maps > 0)), abs=2 / maps.size)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=100), st.floats(0.01, 0.5))
def test_at_most_the_stated_share_of_healthy_images_lies_above_the_lowest_such_threshold(scores, image_fpr):
    scores = np.array(scores, float)
    threshold = image_threshold(scores, image_fpr)
    assert threshold in scores
    assert np.mean(scores > threshold) <= image_fpr + 1e-9
    if (scores < threshold).any():
        assert np.mean(scores > scores[scores < threshold].max()) > image_fpr - 1e-9


def test_an_image_threshold_of_few_images_is_their_highest_score():
    assert image_threshold(np.arange(19.0), 0.05) == 18
    assert image_threshold(np.arange(20.0), 0.05) == 18


def test_scored_images_are_those_of_maps_and_scores_in_any_batches(site):
    x = pictures(5)
    expected, scores = site.maps(x), site.scores([x])
    for size in (1, 2, 5):
        with site.scored(x.split(size)) as found:
            for s in SCORINGS:
                np.testing.assert_allclose(found.maps(s.name).reshape(5, 1, 32, 32), expected[s.name], atol=1e-5)
                np.testing.assert_allclose(found.scores[s.name], scores[s.name], rtol=1e-5)


def test_maps_are_kept_of_the_places_asked_for_and_can_be_read_twice(site):
    x = pictures(5)
    with site.scored(x.split(2), lambda start, size: [i for i in range(size) if start + i in (1, 4)]) as found:
        for _ in range(2):
            kept = found.maps("residual").reshape(2, 32, 32)
            np.testing.assert_allclose(kept, site.maps(x)["residual"][[1, 4], 0], atol=1e-5)
        assert len(found.scores["residual"]) == 5
    assert all(file.closed for file in found.files.values())


def test_synthetic_auroc_has_every_scoring_and_kind_and_ignores_batches(site):
    val, others, patients = pictures(5, 3), pictures(4, 4), list("abcde")
    resampling = Resampling(bootstrap=100, confidence=0.95, seed=0)
    found = synthetic_auroc(site, list(val.split(2)), site.scores([val]), others, patients, resampling)
    assert set(found) == {(s.name, kind) for s in SCORINGS for kind in KINDS}
    assert all(0 <= e.value <= 1 and (e.n_healthy, e.n_anomalous) == (5, 5) for e in found.values())
    again = synthetic_auroc(site, [val], site.scores([val]), others, patients, resampling)
    assert {key: e.value for key, e in again.items()} == pytest.approx({key: e.value for key, e in found.items()})
