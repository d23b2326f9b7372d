import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh
from sklearn import decomposition
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_info, threadpool_limits

from ra_core.models.blocks import enlarge, shrink
from ra_core.models.nearest import NearestNeighbour
from ra_core.models.pca import PCA, SIDE
from ra_core.rng import generator

N = 80


def pictures(n=N, size=SIDE, seed=0):
    """Smooth pictures with noise: principal components that differ clearly in strength."""
    g = generator(seed, "pictures")
    smooth = torch.nn.functional.interpolate(torch.rand(n, 1, 6, 6, generator=g), size=(size, size), mode="bilinear")
    return (0.8 * smooth + 0.2 * torch.rand(n, 1, size, size, generator=g)).clamp(0, 1)


def residual(x, x_hat):
    return (x - x_hat).abs()


@pytest.fixture(scope="module")
def statistics():
    return PCA.statistics(pictures().split(32))


@pytest.fixture(scope="module")
def pca(statistics):
    return PCA.from_statistics(statistics)


def test_pca_is_scikit_learns(pca):
    reference = decomposition.PCA(64, svd_solver="full").fit(pictures().flatten(1).double().numpy())
    np.testing.assert_allclose(pca.mean, reference.mean_, atol=1e-6)
    assert pca.components.shape == reference.components_.shape
    x = pictures(5, seed=1)
    expected = reference.inverse_transform(reference.transform(x.flatten(1).double().numpy()))
    np.testing.assert_allclose(pca.reconstruct(x).flatten(1), expected.clip(0, 1), atol=2e-5)


def test_pca_of_larger_images_is_that_of_the_reduced_ones(pca):
    x = pictures(3, 2 * SIDE, seed=1)
    low = shrink(x, SIDE)
    torch.testing.assert_close(PCA.statistics([x])["sum"], low.flatten(1).double().sum(0))
    seen, twin = pca.compared(x)
    torch.testing.assert_close(seen, enlarge(low, x))
    torch.testing.assert_close(twin, enlarge(pca.compared(low)[1], x))
    torch.testing.assert_close(pca.anomaly_map(x, residual), residual(seen, twin))
    assert pca.reconstruct(x).shape == x.shape


def test_pca_statistics_of_two_hospitals_add_up_to_those_of_both(statistics):
    a, b = (PCA.statistics([half]) for half in pictures().split([30, 50]))
    for name, whole in statistics.items():
        torch.testing.assert_close(a[name] + b[name], whole, rtol=1e-10, atol=1e-10)


def test_pca_has_the_same_bits_each_time(pca, statistics):
    torch.rand(3)
    assert torch.equal(PCA.from_statistics(statistics).components, pca.components)


def test_pca_components_are_orthonormal(pca):
    torch.testing.assert_close(pca.components @ pca.components.T, torch.eye(64), atol=1e-5, rtol=0)


def test_pca_of_few_images_reproduces_them():
    x = pictures(5)
    few = PCA.from_statistics(PCA.statistics([x]))
    assert few.components.shape == (4, SIDE**2)
    torch.testing.assert_close(few.reconstruct(x), x, atol=1e-4, rtol=0)


def test_pca_reconstructions_are_in_range_and_maps_not_negative(pca):
    x = torch.cat([torch.zeros(1, 1, SIDE, SIDE), torch.ones(1, 1, SIDE, SIDE), pictures(2, seed=2)])
    x_hat = pca.reconstruct(x)
    assert x_hat.min() >= 0
    assert x_hat.max() <= 1
    assert pca.anomaly_map(x, residual).min() >= 0


def test_pca_needs_two_images_that_differ():
    with pytest.raises(ValueError, match="1 images"):
        PCA.from_statistics(PCA.statistics([pictures(1)]))
    with pytest.raises(ValueError, match="all the same"):
        PCA.from_statistics(PCA.statistics([torch.full((3, 1, SIDE, SIDE), 0.5)]))
    with pytest.raises(ValueError, match="all the same"):  # though sums of them are rounded
        PCA.from_statistics(PCA.statistics([pictures(1).expand(7, -1, -1, -1)]))


def test_pca_is_computed_on_as_many_threads_as_torch_has(statistics, monkeypatch):
    found = []

    def spy(*args, **kwargs):
        found.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return eigsh(*args, **kwargs)

    monkeypatch.setattr("ra_core.models.pca.eigsh", spy)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    with threadpool_limits(limits=2, user_api="blas"):
        PCA.from_statistics(statistics)
    assert found
    assert set(found) == {1}


def test_only_pca_federates():
    assert PCA.federates
    assert not NearestNeighbour.federates


@pytest.mark.parametrize("size", [SIDE, 2 * SIDE])
def test_the_nearest_neighbour_of_a_training_image_is_itself(size):
    x = pictures(7, size)
    nearest = NearestNeighbour.from_statistics(NearestNeighbour.statistics(x.split(3)))
    assert torch.equal(nearest.bank, shrink(x, SIDE))
    torch.testing.assert_close(nearest.reconstruct(x), enlarge(shrink(x, SIDE), x))
    assert nearest.anomaly_map(x, residual).max() == 0


def test_nearest_neighbours_are_scikit_learns():
    x, bank = pictures(9, seed=1), pictures(20)
    nearest = NearestNeighbour.from_statistics({"bank": bank})
    reference = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(bank.flatten(1))
    expected = bank[reference.kneighbors(x.flatten(1), return_distance=False)[:, 0]]
    assert torch.equal(nearest.reconstruct(x), expected)
    torch.testing.assert_close(nearest.anomaly_map(x, residual), (x - expected).abs())
