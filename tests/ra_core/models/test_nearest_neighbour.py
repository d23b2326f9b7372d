import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from ra_core.models.blocks import enlarge, shrink
from ra_core.models.configs import NearestNeighbourConfig
from ra_core.models.nearest_neighbour import SIDE, NearestNeighbour
from ra_core.models.shared import shared_tensors
from ra_core.rng import generator
from ra_core.scoring import Scorer, ScoringConfig

RESIDUAL = [ScoringConfig(name="residual", factors=("residual",))]


def pictures(n=80, size=SIDE, seed=0):
    return torch.rand(n, 1, size, size, generator=generator(seed, "pictures"))


def residual(method, x):
    return method.maps(x, Scorer(None), RESIDUAL)["residual"]


def bank_of(x):
    nearest = NearestNeighbour(NearestNeighbourConfig(), SIDE)
    nearest.fit(x.split(3))
    return nearest


def test_a_bank_of_images_is_no_part_of_any_file():
    assert shared_tensors(bank_of(pictures(7))) == {}
    assert NearestNeighbourConfig.local_only


@pytest.mark.parametrize("size", [SIDE, 2 * SIDE])
def test_the_nearest_neighbour_of_a_training_image_is_itself(size):
    x = pictures(7, size)
    nearest = bank_of(x)
    assert torch.equal(nearest.bank, shrink(x, SIDE))
    torch.testing.assert_close(nearest.reconstruct(x), enlarge(shrink(x, SIDE), x))
    assert residual(nearest, x).max() == 0


def test_nearest_neighbours_are_scikit_learns():
    x, bank = pictures(9, seed=1), pictures(20)
    nearest = bank_of(bank)
    reference = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(bank.flatten(1))
    expected = bank[reference.kneighbors(x.flatten(1), return_distance=False)[:, 0]]
    assert torch.equal(nearest.reconstruct(x), expected)
    torch.testing.assert_close(residual(nearest, x), (x - expected).abs())


def test_unseen_healthy_images_are_explained_better_than_sick_ones():
    """Images of a few smooth kinds, and the same with a bright spot."""

    def smooth(n, seed=0):
        coarse = torch.rand(n, 1, 3, 3, generator=generator(seed, "smooth"))
        return torch.nn.functional.interpolate(0.6 * coarse, size=(SIDE, SIDE), mode="bilinear")

    method, healthy = bank_of(smooth(40)), smooth(10, seed=1)
    sick = healthy.clone()
    sick[:, :, SIDE // 3 : SIDE // 2, SIDE // 3 : SIDE // 2] = 1.0
    of_healthy, of_sick = residual(method, torch.cat([healthy, sick])).flatten(1).mean(1).chunk(2)
    assert (of_sick > of_healthy).all()
    assert of_healthy.mean() < (healthy - smooth(40).mean(0)).abs().mean()  # nor is it one image for all
