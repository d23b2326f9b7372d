import numpy as np
import pytest
import torch
from looking import SIZE, SMALL, discs, pictures, stands_out
from scipy.spatial.distance import mahalanobis

from ra_core.fixed_point import WeightedSum, encode
from ra_core.models.configs import PaDiMConfig
from ra_core.models.padim import SMALLEST, PaDiM
from ra_core.models.shared import load_shared, shared_tensors

CONFIG = PaDiMConfig(**SMALL, channels=20)


@pytest.fixture
def build(untrained_perceptual):
    def built(*batches, **settings):
        method = PaDiM(CONFIG.model_copy(update=settings), SIZE).eval()
        method.look_through(untrained_perceptual)
        if batches:
            method.fit(batches)
        return method

    return built


def test_distances_are_mahalanobis_at_each_place(build):
    x, seen = pictures(30), pictures(2, seed=1)
    method = build(*x.split(7), smooth=0.0)
    features, healthy = method._features(seen).double().numpy(), method._features(x).double().numpy()
    variance = healthy.var(0).mean()
    expected = np.zeros((2, 64))
    for place in range(64):
        covariance = np.cov(healthy[:, place], rowvar=False, bias=True) + 0.01 * variance * np.eye(20)
        precision = np.linalg.inv(covariance)
        mean = healthy[:, place].mean(0)
        expected[:, place] = [mahalanobis(one, mean, precision) for one in features[:, place]]
    low = torch.nn.functional.interpolate(
        torch.from_numpy(expected).view(2, 1, 8, 8).float(), size=(SIZE, SIZE), mode="bilinear"
    )
    torch.testing.assert_close(method.distance(seen), low, rtol=1e-3, atol=1e-3)


def test_a_hole_is_found_where_it_is(build, site_root, tiny_study):
    train, healthy, sick = discs(site_root, tiny_study.preprocessing)
    method = build(train)
    assert method.healthy_error(sick).min() > method.healthy_error(healthy).max()
    assert stands_out(method, sick)


def test_training_images_are_closer_than_others(build):
    method = build(pictures(30))
    assert method.healthy_error(pictures(30)).mean() < 0.9 * method.healthy_error(pictures(30, seed=1)).mean()


def test_scores_have_the_same_bits_each_time_and_batch_mates_do_not_matter(build):
    x = pictures(20)
    torch.rand(3)
    first, again = (build(*x.split(8)).distance(x) for _ in range(2))
    assert torch.equal(first, again)
    torch.testing.assert_close(build(*x.split(8)).distance(x[3:4]), first[3:4], rtol=1e-4, atol=1e-4)


def test_moments_loaded_into_a_fresh_model_give_the_same_distances(build):
    source, target = build(pictures(20)), build(pictures(9, seed=4))
    target.distance(pictures(1))  # its Gaussians are in memory
    load_shared(target, None, {name: tensor.clone() for name, tensor in shared_tensors(source).items()})
    assert torch.equal(target.distance(pictures(4, seed=2)), source.distance(pictures(4, seed=2)))


def test_three_hospitals_have_the_moments_and_scores_of_all_images_together(build):
    """As a round has it: rounded updates from the first model, their mean weighted by images."""
    x, parts = pictures(60), (11, 30, 19)
    start = {name: tensor.clone() for name, tensor in shared_tensors(build()).items()}
    total = WeightedSum({name: tuple(tensor.shape) for name, tensor in start.items()})
    for images in x.split(parts):
        after = shared_tensors(build(*images.split(8)))
        total.add({name: encode((after[name].double() - start[name].double()).numpy()) for name in start}, len(images))
    federated, pooled = build(), build(*x.split(8))
    means = {name: start[name] + torch.from_numpy(update).float() for name, update in total.mean().items()}
    load_shared(federated, None, means)
    for name, tensor in shared_tensors(pooled).items():
        torch.testing.assert_close(means[name], tensor, atol=1e-7, rtol=0)
    seen = pictures(8, seed=1)
    torch.testing.assert_close(federated.distance(seen), pooled.distance(seen), rtol=5e-3, atol=0)


def test_a_model_that_has_seen_nothing_yet_has_finite_distances(build):
    found = build().distance(pictures(2))
    assert found.isfinite().all()
    assert found.max() <= 2 / SMALLEST**0.5


def test_where_nothing_ever_varied_distances_stay_finite(build):
    x = pictures(12)
    x[:, :, :, :40] = 0
    method = build(x)
    assert method.distance(pictures(2)).isfinite().all()
    assert method.distance(x).isfinite().all()


def test_one_image_is_too_few(build):
    with pytest.raises(ValueError, match="1 training images"):
        build(pictures(1))


def test_updates_are_within_what_a_round_takes(build):
    for tensor in shared_tensors(build(pictures(5))).values():
        assert tensor.abs().max() <= 1
