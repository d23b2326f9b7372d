import numpy as np
import pytest
import torch
from scipy.ndimage import convolve

from ra_core.rng import generator
from ra_core.shortcuts import SHORTCUTS, foreground


@pytest.fixture
def x():
    return torch.rand(3, 1, 12, 12, generator=generator(0, "x")) * (torch.arange(12) > 3)


def test_each_is_a_finite_map_whatever_the_batch(x):
    for shortcut in SHORTCUTS.values():
        found = shortcut(x)
        assert found.shape == x.shape
        assert found.isfinite().all()
        assert found.min() >= 0
        torch.testing.assert_close(found, torch.cat([shortcut(image[None]) for image in x]))


def test_brightness_is_the_image(x):
    assert torch.equal(SHORTCUTS["brightness"](x), x)


def test_foreground_is_what_is_above_zero(x):
    assert torch.equal(foreground(x), (torch.arange(12) > 3).expand(3, 1, 12, 12))
    torch.testing.assert_close(SHORTCUTS["foreground"](x).mean((1, 2, 3)), torch.full((3,), 8 / 12))


def test_sharpness_is_the_difference_to_the_neighbourhood_that_there_is(x):
    kernel, counts = np.ones((3, 3)), convolve(np.ones((12, 12)), np.ones((3, 3)), mode="constant")
    expected = [np.abs(i - convolve(i, kernel, mode="constant") / counts) for i in x[:, 0].numpy()]
    np.testing.assert_allclose(SHORTCUTS["sharpness"](x)[:, 0].numpy(), expected, atol=1e-6)
    assert SHORTCUTS["sharpness"](torch.full((1, 1, 8, 8), 0.7)).abs().max() == pytest.approx(0, abs=1e-6)
