import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh
from sklearn import decomposition
from threadpoolctl import threadpool_info, threadpool_limits

from ra_core.models.blocks import enlarge, shrink
from ra_core.models.configs import PCAConfig
from ra_core.models.pca import PCA
from ra_core.models.principal import SIDE
from ra_core.models.shared import load_shared, shared_tensors
from ra_core.rng import generator
from ra_core.scoring import Scorer, ScoringConfig

N = 80
COMPONENTS = 16
"""Fewer than by default: they are found in a fraction of the time."""


def pictures(n=N, size=SIDE, seed=0):
    """Smooth pictures with noise: principal components that differ clearly in strength."""
    g = generator(seed, "pictures")
    smooth = torch.nn.functional.interpolate(torch.rand(n, 1, 6, 6, generator=g), size=(size, size), mode="bilinear")
    return (0.8 * smooth + 0.2 * torch.rand(n, 1, size, size, generator=g)).clamp(0, 1)


RESIDUAL = [ScoringConfig(name="residual", factors=("residual",))]


def residual(method, x):
    return method.maps(x, Scorer(None), RESIDUAL)["residual"]


def fitted(*batches):
    pca = PCA(PCAConfig(components=COMPONENTS), SIDE)
    pca.fit(batches)
    return pca


@pytest.fixture(scope="module")
def pca():
    return fitted(*pictures().split(32))


def test_pca_is_scikit_learns(pca):
    reference = decomposition.PCA(COMPONENTS, svd_solver="full").fit(pictures().flatten(1).double().numpy())
    np.testing.assert_allclose(pca.moments.mean[0], reference.mean_, atol=1e-6)
    assert pca.spectrum().components.shape == reference.components_.shape
    x = pictures(5, seed=1)
    expected = reference.inverse_transform(reference.transform(x.flatten(1).double().numpy()))
    np.testing.assert_allclose(pca.reconstruct(x).flatten(1), expected.clip(0, 1), atol=2e-5)


def test_pca_of_larger_images_is_that_of_the_reduced_ones(pca):
    x = pictures(3, 2 * SIDE, seed=1)
    low = shrink(x, SIDE)
    torch.testing.assert_close(fitted(x).moments.mean[0], low.flatten(1).mean(0))
    seen, twin = pca.compared(x)
    torch.testing.assert_close(seen, enlarge(low, x))
    torch.testing.assert_close(twin, enlarge(pca.compared(low)[1], x))
    torch.testing.assert_close(residual(pca, x), (seen - twin.clamp(0, 1)).abs())
    assert pca.reconstruct(x).shape == x.shape


def test_pca_of_two_hospitals_is_the_weighted_mean_of_their_moments(pca):
    a, b = (shared_tensors(fitted(half)) for half in pictures().split([30, 50]))
    both = PCA(PCAConfig(components=COMPONENTS), SIDE)
    load_shared(both, None, {name: (30 * a[name] + 50 * b[name]) / 80 for name in a})
    x = pictures(5, seed=1)
    torch.testing.assert_close(both.reconstruct(x), pca.reconstruct(x), atol=1e-4, rtol=0)


def test_pca_has_the_same_bits_each_time(pca):
    torch.rand(3)
    assert torch.equal(fitted(*pictures().split(32)).spectrum().components, pca.spectrum().components)


def test_pca_forgets_its_components_when_its_moments_change(pca):
    other = fitted(pictures(20, seed=3))
    load_shared(other, None, shared_tensors(pca))
    assert torch.equal(other.spectrum().components, pca.spectrum().components)


def test_pca_components_are_orthonormal(pca):
    torch.testing.assert_close(
        pca.spectrum().components @ pca.spectrum().components.T, torch.eye(COMPONENTS), atol=1e-5, rtol=0
    )


def test_pca_of_few_images_reproduces_them():
    x = pictures(5)
    few = fitted(x)
    assert few.spectrum().components.shape == (4, SIDE**2)
    torch.testing.assert_close(few.reconstruct(x), x, atol=1e-4, rtol=0)


def test_pca_reconstructions_are_in_range_and_maps_not_negative(pca):
    x = torch.cat([torch.zeros(1, 1, SIDE, SIDE), torch.ones(1, 1, SIDE, SIDE), pictures(2, seed=2)])
    x_hat = pca.reconstruct(x)
    assert x_hat.min() >= 0
    assert x_hat.max() <= 1
    assert residual(pca, x).min() >= 0


def test_pca_needs_two_images_that_differ():
    with pytest.raises(ValueError, match="1 training images"):
        fitted(pictures(1))
    with pytest.raises(ValueError, match="all the same"):
        fitted(torch.full((3, 1, SIDE, SIDE), 0.5))
    with pytest.raises(ValueError, match="all the same"):  # though sums of them are rounded
        fitted(pictures(1).expand(7, -1, -1, -1))


def test_pca_is_computed_on_as_many_threads_as_torch_has(monkeypatch):
    found = []

    def spy(*args, **kwargs):
        found.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return eigsh(*args, **kwargs)

    monkeypatch.setattr("ra_core.models.principal.eigsh", spy)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    with threadpool_limits(limits=2, user_api="blas"):
        fitted(pictures())
    assert found
    assert set(found) == {1}


def test_unseen_healthy_images_are_explained_better_than_sick_ones():
    """Images of a few smooth kinds, and the same with a bright spot."""

    def smooth(n, seed=0):
        coarse = torch.rand(n, 1, 3, 3, generator=generator(seed, "smooth"))
        return torch.nn.functional.interpolate(0.6 * coarse, size=(SIDE, SIDE), mode="bilinear")

    method, healthy = fitted(*smooth(40).split(16)), smooth(10, seed=1)
    sick = healthy.clone()
    sick[:, :, SIDE // 3 : SIDE // 2, SIDE // 3 : SIDE // 2] = 1.0
    of_healthy, of_sick = residual(method, torch.cat([healthy, sick])).flatten(1).mean(1).chunk(2)
    assert (of_sick > of_healthy).all()
    assert of_healthy.mean() < (healthy - smooth(40).mean(0)).abs().mean()  # nor is it one image for all
