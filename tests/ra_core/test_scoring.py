import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter
from skimage.exposure import equalize_adapthist

from ra_core.hashing import tensor_digest
from ra_core.models.configs import RAConfig
from ra_core.models.registry import build_method
from ra_core.rng import generator
from ra_core.scoring import SCORINGS, HealthyMoments, Scorer, ScoringConfig, image_scores
from ra_core.site_scorer import SiteScorer

PAPER = next(s for s in SCORINGS if s.name == "paper")
RESIDUAL = ScoringConfig(name="residual", factors=("residual",))
TISSUE = np.ones((16, 16))
"""A mean healthy image that is bright everywhere."""


def pictures(n=4, size=64, seed=0):
    """Smooth pictures with a little noise, in [0, 1]."""
    g = generator(seed, "pictures")
    smooth = torch.nn.functional.interpolate(torch.rand(n, 1, 6, 6, generator=g), size=(size, size), mode="bicubic")
    return (0.8 * smooth + 0.1 * torch.rand(n, 1, size, size, generator=g)).clamp(0, 1)


def numpy(x):
    return x[:, 0].double().numpy()


def blur(a, sigma):
    return np.stack([gaussian_filter(image, sigma) for image in a])


def test_the_paper_map_is_its_formula(untrained_perceptual):
    """A = |C(x̂) − C(x)| · blur(P(x̂, x)) · blur(P(C(x̂), C(x))), evaluated with NumPy and scikit-image alone."""
    x, x_hat = pictures(seed=1), pictures(seed=2)
    c_x, c_hat = (np.stack([equalize_adapthist(image) for image in numpy(images)]) for images in (x, x_hat))

    def distance(a, b):
        a, b = (torch.from_numpy(images).float()[:, None] for images in (a, b))
        return numpy(untrained_perceptual.distance_map(a, b))

    plain, equalised = distance(numpy(x_hat), numpy(x)), distance(c_hat, c_x)
    expected = np.abs(c_hat - c_x) * blur(plain, 2) * blur(equalised, 2)
    found = Scorer(untrained_perceptual).maps(x, x_hat, [PAPER])["paper"]
    assert found.dtype == torch.float32
    np.testing.assert_allclose(numpy(found), expected, rtol=1e-3, atol=1e-6 * expected.max())


def test_each_image_goes_through_the_network_once_whatever_is_asked(untrained_perceptual, monkeypatch):
    seen, genuine = [], untrained_perceptual.features

    def features(images):
        seen.extend(tensor_digest({"": image}) for image in images)
        return genuine(images)

    monkeypatch.setattr(untrained_perceptual, "features", features)
    x, x_hat = pictures(3, seed=1), pictures(3, seed=2)
    Scorer(untrained_perceptual).maps(x, x_hat, SCORINGS)
    assert len(seen) == len(set(seen)) == 4 * len(x)


def test_a_map_does_not_depend_on_what_else_is_asked(untrained_perceptual):
    x, x_hat = pictures(seed=1), pictures(seed=2)
    scorer = Scorer(untrained_perceptual)
    together = scorer.maps(x, x_hat, SCORINGS)
    for s in SCORINGS:
        alone = scorer.maps(x, x_hat, [s])[s.name]
        torch.testing.assert_close(together[s.name], alone, rtol=1e-5, atol=1e-6 * alone.abs().max().item())


def test_every_factor_of_the_paper_is_also_shown_alone():
    alone = {s.factors[0] for s in SCORINGS if len(s.factors) == 1 and not s.standardise}
    assert alone >= set(PAPER.factors)
    assert {s.name for s in SCORINGS if not s.is_perceptual} == {
        s.name for s in SCORINGS if set(s.factors) <= {"residual", "signed_residual", "clahe_residual"}
    }


def test_each_factor_can_be_switched_off(untrained_perceptual):
    x, x_hat = pictures(seed=1), pictures(seed=2)
    maps = Scorer(untrained_perceptual).maps(
        x,
        x_hat,
        [PAPER, *(ScoringConfig(name=f, factors=(f,)) for f in PAPER.factors)]
        + [
            ScoringConfig(name=f"without {f}", factors=tuple(other for other in PAPER.factors if other != f))
            for f in PAPER.factors
        ],
    )
    for factor in PAPER.factors:
        torch.testing.assert_close(maps["paper"], maps[factor] * maps[f"without {factor}"], rtol=1e-4, atol=1e-12)


def test_blur_and_smooth_are_gaussians_of_the_stated_width(untrained_perceptual):
    x, x_hat = pictures(seed=1), pictures(seed=2)
    scorings = [
        RESIDUAL,
        ScoringConfig(name="smooth", factors=("residual",), smooth=3),
        ScoringConfig(name="sharp", factors=("perceptual",), perceptual_blur=0),
        ScoringConfig(name="blurred", factors=("perceptual",), perceptual_blur=1.5),
    ]
    maps = Scorer(untrained_perceptual).maps(x, x_hat, scorings)
    np.testing.assert_allclose(numpy(maps["residual"]), np.abs(numpy(x) - numpy(x_hat)), atol=1e-7)
    np.testing.assert_allclose(numpy(maps["smooth"]), blur(numpy(maps["residual"]), 3), atol=1e-6)
    np.testing.assert_allclose(numpy(maps["blurred"]), blur(numpy(maps["sharp"]), 1.5), atol=1e-6)


def test_images_are_clamped_first():
    x, x_hat = torch.full((1, 1, 32, 32), 1.5), torch.full((1, 1, 32, 32), -0.5)
    assert torch.all(Scorer(None).maps(x, x_hat, [RESIDUAL])["residual"] == 1)


def test_all_zero_images_get_a_defined_score(untrained_perceptual):
    x = torch.zeros(2, 1, 64, 64)
    for x_hat in (x, pictures(2)):
        maps = Scorer(untrained_perceptual).maps(x, x_hat, SCORINGS)
        for s in SCORINGS:
            scores = image_scores(maps[s.name], s)
            assert np.isfinite(scores).all()
            assert s.signed or (scores >= 0).all()
            assert x_hat is not x or (scores == 0).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_refused_by_its_images_place(bad):
    x, broken = pictures(), pictures()
    broken[2, 0, 5, 7] = bad
    with pytest.raises(ValueError, match=r"^image 2 of the batch"):
        Scorer(None).maps(broken, x, [RESIDUAL])
    with pytest.raises(ValueError, match=r"^reconstruction 2 of the batch"):
        Scorer(None).maps(x, broken, [RESIDUAL])


def test_a_perceptual_factor_needs_a_network():
    with pytest.raises(ValueError, match="network"):
        Scorer(None).maps(pictures(1), pictures(1), [PAPER])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"factors": ("residual", "residual")}, "twice"),
        ({"factors": ("residual", "signed_residual"), "standardise": True}, "stands alone"),
        ({"factors": ("signed_residual",)}, "standardised"),
        ({"factors": ("residual",), "shading": 9}, "signed residuals alone"),
        ({"factors": ("signed_residual",), "standardise": True, "shading": 3, "smooth": 3}, "wider"),
    ],
)
def test_a_scoring_that_makes_no_sense_is_refused(settings, reason):
    with pytest.raises(ValidationError, match=reason):
        ScoringConfig(name="x", **settings)


def test_autocast_changes_nothing(untrained_perceptual):
    x, x_hat = pictures(seed=1), pictures(seed=2)
    plain = Scorer(untrained_perceptual).maps(x, x_hat, SCORINGS)
    with torch.autocast("cpu", torch.bfloat16):
        found = Scorer(untrained_perceptual).maps(x, x_hat, SCORINGS)
    for name, maps in plain.items():
        assert found[name].dtype == torch.float32
        assert torch.equal(found[name], maps)


def test_pools_are_the_mean_and_the_mean_of_the_highest_twentieth():
    maps = torch.rand(3, 1, 20, 20)
    flat = maps.double().flatten(1).numpy()
    np.testing.assert_allclose(image_scores(maps, RESIDUAL), flat.mean(1))
    top = RESIDUAL.model_copy(update={"pool": "top"})
    np.testing.assert_allclose(image_scores(maps, top), np.sort(flat)[:, -20:].mean(1))


def test_an_images_score_depends_on_neither_batch_nor_order(untrained_perceptual):
    """At most 1e-3 of the 99th percentile of healthy scores, for every scoring."""
    method = build_method(RAConfig(channels=(4, 8, 8), latent=8), 64, 0)
    site = SiteScorer.fit(
        method, Scorer(untrained_perceptual), SCORINGS, pictures(16, seed=3).split(4), torch.device("cpu")
    )
    x = pictures(8)
    order = torch.randperm(8, generator=generator(0, "order"))
    whole = site.scores([x])
    alone, uneven = site.scores(x.split(1)), site.scores(x.split([3, 5]))
    shuffled = site.scores(x[order].split(4))
    for s in SCORINGS:
        tolerance = 1e-3 * np.percentile(whole[s.name], 99)
        assert tolerance > 0
        for other in (alone[s.name], uneven[s.name], shuffled[s.name][order.argsort()]):
            assert np.abs(other - whole[s.name]).max() <= tolerance, s.name


def test_healthy_statistics_are_moments_at_each_pixel():
    maps = np.random.default_rng(0).random((9, 16, 16))
    plain = HealthyMoments().add(maps).statistics(TISSUE, sigma=0)
    np.testing.assert_allclose(plain.mean, maps.mean(0))
    np.testing.assert_allclose(plain.spread, maps.std(0))
    smooth = HealthyMoments().add(iter(maps[:4].astype(np.float32))).add(maps[4:].astype(np.float32)).statistics(TISSUE)
    mean = gaussian_filter(maps.mean(0), 2)
    np.testing.assert_allclose(smooth.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(smooth.spread, np.sqrt(gaussian_filter((maps**2).mean(0), 2) - mean**2), rtol=1e-5)
    assert smooth.mean.dtype == smooth.spread.dtype == np.float64


def test_standardised_maps_are_spreads_above_the_mean_or_away_from_it():
    maps = np.random.default_rng(0).standard_normal((9, 16, 16)).astype(np.float32)
    healthy = HealthyMoments().add(maps).statistics(TISSUE)
    z = (maps - healthy.mean) / (healthy.spread + healthy.spread.mean() / 2)
    found, signed = (numpy(healthy.standardise(torch.from_numpy(maps)[:, None], signed)) for signed in (False, True))
    np.testing.assert_allclose(found, np.maximum(z, 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(signed, np.abs(z), rtol=1e-5, atol=1e-6)
    assert found.min() == 0


def test_where_no_tissue_is_standardised_maps_are_zero():
    """And the spread of what is outside counts for nothing."""
    maps = np.random.default_rng(0).standard_normal((9, 16, 16)).astype(np.float32)
    healthy = TISSUE.copy()
    healthy[:, 8:] = 0.04
    maps[:, :, 8:] *= 100
    statistics = HealthyMoments().add(maps).statistics(healthy, sigma=0)
    found = numpy(statistics.standardise(torch.from_numpy(maps)[:, None], signed=True))
    assert (found[:, :, 8:] == 0).all()
    spread = maps[:, :, :8].std(0)
    expected = np.abs(maps[:, :, :8] - maps[:, :, :8].mean(0)) / (spread + spread.mean() / 2)
    np.testing.assert_allclose(found[:, :, :8], expected, rtol=1e-4, atol=1e-6)
    dark = HealthyMoments().add(maps).statistics(np.zeros((16, 16)))
    assert dark.inside.all()  # pictures without any tissue are scored as they are


def test_a_signed_residual_lets_noise_cancel_before_its_sign_is_dropped():
    """A faint dark spot under noise: the smoothed signed residual shows it, the smoothed absolute one doesn't."""
    noise = 0.15 * torch.randn(64, 1, 64, 64, generator=generator(0, "noise"))
    x, x_hat = 0.5 + noise, torch.full((64, 1, 64, 64), 0.5)
    x[..., 24:40, 24:40] -= 0.04
    absolute, signed = (
        ScoringConfig(name=f, factors=(f,), smooth=5, standardise=True) for f in ("residual", "signed_residual")
    )
    seen = {}
    for name, maps in Scorer(None).maps(x, x_hat, [absolute, signed]).items():
        away = numpy(maps)[:, 8:-8, 8]
        seen[name] = abs(numpy(maps)[:, 32, 32].mean() - away.mean()) / away.std()
    assert seen["signed_residual"] > max(2, 2 * seen["residual"])


@examples(max_examples=25, deadline=None)
@given(st.floats(0.3, 1), st.floats(0.05, 0.45), st.integers(0, 99))
def test_a_signed_residual_does_not_see_how_bright_an_image_is(factor, share, seed):
    """A picture dimmed as a whole leaves nothing; with a lesion of less than half of it, the lesion alone."""
    drawn = 0.2 + 0.8 * pictures(2, 32, seed)
    x = factor * drawn
    rows = int(share * 32)
    x[1, :, :rows] *= 0.5
    raw = ScoringConfig(name="s", factors=("signed_residual",), standardise=True)
    healthy, sick = Scorer(None).maps(x, drawn, [raw])["s"]
    assert healthy.abs().max() < 1e-5
    assert sick[:, rows:].abs().max() < 1e-5
    torch.testing.assert_close(sick[:, :rows], -0.5 * factor * drawn[1, :, :rows])


def test_a_signed_residual_of_nothing_drawn_is_the_image():
    x = pictures(1, 32)
    raw = ScoringConfig(name="s", factors=("signed_residual",), standardise=True)
    assert torch.equal(Scorer(None).maps(x, torch.zeros_like(x), [raw])["s"], x)


def test_shading_is_taken_off_a_signed_residual():
    """What is left of a spot is the difference of two blurs."""
    x, x_hat = pictures(seed=1), pictures(seed=2)
    raw = ScoringConfig(name="raw", factors=("signed_residual",), standardise=True)
    shaded = raw.model_copy(update={"name": "shaded", "smooth": 2, "shading": 9})
    maps = Scorer(None).maps(x, x_hat, [raw, shaded])
    expected = blur(numpy(maps["raw"]), 2) - blur(numpy(maps["raw"]), 9)
    np.testing.assert_allclose(numpy(maps["shaded"]), expected, atol=1e-6)
    assert maps["shaded"].min() < 0


def test_maps_that_never_varied_are_no_alarm_and_stay_finite():
    flat = torch.full((3, 1, 16, 16), 0.25)
    found = HealthyMoments().add(flat[:, 0].numpy()).statistics(TISSUE).standardise(flat)
    assert found.isfinite().all()
    assert found.max() < 1


@pytest.mark.parametrize("n", [0, 1])
def test_a_spread_needs_two_maps(n):
    with pytest.raises(ValueError, match=f"^{n} healthy maps"):
        HealthyMoments().add(np.zeros((n, 4, 4))).statistics(TISSUE)
