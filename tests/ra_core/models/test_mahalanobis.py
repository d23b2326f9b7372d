import numpy as np
import pytest
import torch
from looking import pictures
from sklearn import decomposition

from ra_core.models.blocks import shrink
from ra_core.models.configs import MahalanobisConfig, PCAConfig
from ra_core.models.mahalanobis import Mahalanobis
from ra_core.models.pca import PCA
from ra_core.models.principal import SIDE
from ra_core.models.shared import load_shared, shared_tensors


def fitted(*batches, components=10):
    method = Mahalanobis(MahalanobisConfig(components=components), SIDE)
    if batches:
        method.fit(batches)
    return method


@pytest.fixture(scope="module")
def method():
    return fitted(*pictures(60).split(25))


def test_the_distance_is_that_of_probabilistic_pca(method):
    """Against the covariance of scikit-learn, inverted as a whole."""
    x, seen = shrink(pictures(60), SIDE).flatten(1).double().numpy(), pictures(4, seed=1)
    reference = decomposition.PCA(10, svd_solver="full").fit(x)
    sample = 59 / 60  # scikit-learn divides by one less
    left = reference.noise_variance_ * sample * (min(x.shape) - 10) / (x.shape[1] - 10)
    rows = reference.components_
    covariance = (rows.T * (reference.explained_variance_ * sample - left)) @ rows + left * np.eye(x.shape[1])
    centred = shrink(seen, SIDE).flatten(1).double().numpy() - reference.mean_
    squared = (centred * np.linalg.solve(covariance, centred.T).T).sum(1)
    expected = np.sqrt(squared / x.shape[1])
    np.testing.assert_allclose(method.distance(seen).mean((1, 2, 3)), expected, rtol=2e-3)


def test_it_gives_one_number_an_image(method):
    found = method.distance(pictures(5, 128, seed=2))
    assert found.shape == (5, 1, 128, 128)
    assert torch.equal(found, found[:, :, :1, :1].expand_as(found))
    assert not Mahalanobis.localises
    assert PCA.localises
    assert [scoring.name for scoring in method.scorings] == ["distance"]


def test_training_images_are_at_about_one(method):
    assert method.healthy_error(pictures(60)).square().mean().item() == pytest.approx(1, rel=0.01)


def test_unlike_images_are_farther(method):
    healthy = pictures(10, seed=1)
    sick = healthy.clone()
    sick[:, :, 20:30, 20:30] = 0
    assert (method.healthy_error(sick) > method.healthy_error(healthy)).all()


def test_two_hospitals_have_the_distances_of_all_images_together(method):
    a, b = (shared_tensors(fitted(half)) for half in pictures(60).split([20, 40]))
    both = fitted()
    load_shared(both, None, {name: (20 * a[name] + 40 * b[name]) / 60 for name in a})
    seen = pictures(5, seed=1)
    torch.testing.assert_close(both.distance(seen), method.distance(seen), rtol=2e-3, atol=0)


def test_scores_have_the_same_bits_each_time_and_batch_mates_do_not_matter(method):
    x = pictures(5, seed=1)
    torch.rand(3)
    assert torch.equal(fitted(*pictures(60).split(25)).distance(x), method.distance(x))
    torch.testing.assert_close(method.distance(x)[2:3], method.distance(x[2:3]), rtol=1e-4, atol=0)


def test_images_that_leave_nothing_beside_the_components_have_finite_distances():
    few = fitted(pictures(4), components=3)
    assert len(few.spectrum().components) == 3
    assert few.spectrum().rest < 1e-8
    assert few.distance(pictures(3, seed=1)).isfinite().all()
    assert few.healthy_error(pictures(3, seed=1)).min() > few.healthy_error(pictures(4)).max()


@pytest.mark.parametrize("method", [fitted(), PCA(PCAConfig(), SIDE)])
def test_a_model_that_has_seen_nothing_yet_judges_all_the_same(method):
    """The first round of a federation validates it before any site has computed anything."""
    assert method.healthy_error(pictures(3)).isfinite().all()


def test_images_of_one_brightness_have_components():
    """The search for components starts in a direction in which they don't vary."""
    x = pictures(30)
    x = x - x.mean((1, 2, 3), keepdim=True) + 0.5
    assert len(fitted(x).spectrum().components) == 10
