import numpy as np
import pytest
import torch
from looking import SIZE, SMALL, discs, pictures, stands_out
from sklearn.neighbors import NearestNeighbors

from ra_core.models.configs import PatchCoreConfig
from ra_core.models.patchcore import PatchCore, spread_out
from ra_core.models.shared import shared_tensors
from ra_core.rng import generator

CONFIG = PatchCoreConfig(**SMALL, share=0.5)


@pytest.fixture
def build(untrained_perceptual):
    def built(*batches, **settings):
        method = PatchCore(CONFIG.model_copy(update=settings), SIZE).eval()
        method.look_through(untrained_perceptual)
        if batches:
            method.fit(batches)
        return method

    return built


def points(n=60, dimensions=5):
    return torch.randn(n, dimensions, generator=generator(0, "points"))


def covering_radius(found, taken):
    return torch.cdist(found, found[taken]).min(1).values.max()


def test_spread_out_points_are_those_of_the_definition():
    found, taken = points(), [0]
    while len(taken) < 10:
        taken.append(int(torch.cdist(found, found[taken]).min(1).values.argmax()))
    assert spread_out(found, 10).tolist() == taken
    assert covering_radius(found, spread_out(found, 10)) < covering_radius(found, torch.arange(10))


def test_no_point_is_taken_twice():
    found = points(4).repeat(5, 1)
    assert sorted(spread_out(found, 10).tolist()) == [0, 1, 2, 3]
    assert sorted(spread_out(points(7), 99).tolist()) == list(range(7))
    assert spread_out(points(7), 1).tolist() == [0]


def test_distances_are_those_to_the_nearest_of_the_bank(build):
    method, seen = build(*pictures(6).split(4), smooth=0.0), pictures(2, seed=1)
    reference = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(method.bank.double().numpy())
    expected = [reference.kneighbors(image.double().numpy())[0][:, 0] for image in method._features(seen)]
    low = torch.from_numpy(np.stack(expected)).view(2, 1, 8, 8).float()
    enlarged = torch.nn.functional.interpolate(low, size=(SIZE, SIZE), mode="bilinear")
    torch.testing.assert_close(method.distance(seen), enlarged, rtol=1e-4, atol=1e-5)


def test_a_bank_of_all_features_gives_training_images_no_distance(build):
    x = pictures(4)
    whole = build(x, share=1.0)
    assert len(whole.bank) == 4 * 64
    assert whole.distance(x).max() < 1e-6
    assert whole.distance(pictures(4, seed=1)).mean() > 0.01
    assert whole.memorises


def test_features_are_means_over_neighbours_within_the_grid(build):
    method, x = build(), pictures(1)
    alone = build(neighbourhood=1)._features(x)[0].view(8, 8, -1)
    found = method._features(x)[0].view(8, 8, -1)
    torch.testing.assert_close(found[3, 4], alone[2:5, 3:6].mean((0, 1)))
    torch.testing.assert_close(found[0, 0], alone[:2, :2].mean((0, 1)))


def test_a_hole_is_found_where_it_is(build, site_root, tiny_study):
    train, healthy, sick = discs(site_root, tiny_study.preprocessing)
    method = build(train, levels=(0,))  # features of random weights tell little farther up
    assert method.healthy_error(sick).mean() > method.healthy_error(healthy).max()
    assert stands_out(method, sick)


def test_the_bank_depends_on_the_images_alone(build):
    x = pictures(10)
    torch.rand(3)
    first, again = build(*x.split(3), candidates=200), build(*x.split(4), candidates=200)
    torch.testing.assert_close(first.bank, again.bank, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first.distance(x)[2:3], first.distance(x[2:3]), rtol=1e-4, atol=1e-5)
    assert torch.equal(first.bank, build(*x.split(3), candidates=200).bank)


def test_memory_is_bounded(build, monkeypatch):
    """Whatever the number of images, no more than the candidates and a batch are held."""
    held = []
    cat = torch.cat
    monkeypatch.setattr(torch, "cat", lambda found, *args: held.append(sum(map(len, found))) or cat(found, *args))
    method = build(*pictures(30).split(5), candidates=100, largest_bank=20)
    assert max(held) <= 640 + 100 + 5 * 64
    assert method.bank.shape == (20, 192 + 384)


def test_candidates_are_drawn_evenly_from_all_images(build, monkeypatch):
    method = build(candidates=300)
    monkeypatch.setattr(method, "_features", lambda batch: batch.view(-1, 1, 1).expand(-1, 100, CONFIG.available))
    found = method._candidates(torch.arange(20.0).split(6))
    counts = torch.bincount(found[:, 0].long(), minlength=20)
    assert counts.sum() == 300
    assert counts.min() >= 5
    assert counts.max() <= 28


def test_nothing_of_a_bank_leaves(build):
    method = build(pictures(3))
    assert shared_tensors(method) == {}
    assert PatchCoreConfig.local_only
    assert PatchCoreConfig.parts == ()


def test_a_bank_needs_images(build):
    with pytest.raises(ValueError, match="0 training images"):
        build().fit([])
    with pytest.raises(ValueError, match="nothing was fitted"):
        build().distance(pictures(1))
