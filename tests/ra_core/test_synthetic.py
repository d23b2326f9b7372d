import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from ra_core.rng import generator
from ra_core.synthetic import KINDS, spoil

SIZE = 64


def pictures(n=6, seed=0):
    g = generator(seed, "pictures")
    smooth = torch.nn.functional.interpolate(torch.rand(n, 1, 6, 6, generator=g), size=(SIZE, SIZE), mode="bilinear")
    return (0.8 * smooth + 0.2 * torch.rand(n, 1, SIZE, SIZE, generator=g)).clamp(0, 1)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_every_kind_changes_its_region_and_nothing_but_brightness_beyond_its_rim(kind, seed):
    x = pictures(seed=seed)
    out, masks = spoil(x, kind, seed, pictures(3, seed + 1))
    assert out.shape == masks.shape == x.shape
    assert out.dtype == torch.float32
    assert masks.dtype == torch.bool
    assert out.min() >= 0
    assert out.max() <= 1
    for before, after, mask in zip(x[:, 0], out[:, 0], masks[:, 0], strict=True):
        changed = (before != after).numpy()
        assert (changed & mask.numpy()).any()
        beyond = ~binary_dilation(mask.numpy(), np.ones((2 * SIZE // 8 + 1,) * 2))
        ratio = (after / before).numpy()[beyond & (before > 0).numpy()]
        np.testing.assert_allclose(ratio, ratio.mean() if ratio.size else 1, rtol=1e-5)
        assert (ratio <= 1).all()
        assert kind == "bright" or (ratio == 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_anomaly_depends_on_seed_kind_and_index_alone(kind):
    x, others = pictures(), pictures(3, 1)
    whole, masks = spoil(x, kind, 0, others)
    parts = [spoil(x[first:last], kind, 0, others, first) for first, last in ((0, 1), (1, 4), (4, 6))]
    torch.rand(5)
    np.random.rand(5)  # noqa: NPY002 - no global generator may matter
    assert torch.equal(torch.cat([images for images, _ in parts]), whole)
    assert torch.equal(torch.cat([found for _, found in parts]), masks)
    assert not torch.equal(spoil(x, kind, 1, others)[1], masks)
    assert not torch.equal(spoil(x, kind, 0, others, first=1)[1], masks)


def test_kinds_lie_in_different_places():
    x = pictures()
    masks = [spoil(x, kind, 0, x)[1] for kind in KINDS]
    assert all(not torch.equal(a, b) for i, a in enumerate(masks) for b in masks[:i])


def test_bright_is_brighter_and_dark_is_darker():
    x = 0.5 * pictures()
    assert (spoil(x, "bright", 0, x)[0] >= x).all()
    assert (spoil(x, "dark", 0, x)[0] <= x).all()


def test_what_is_brighter_than_white_becomes_the_new_white():
    """As where an image is scaled by its 99th percentile: all else is dimmed by the same factor."""
    x = torch.ones(6, 1, SIZE, SIZE)
    out, masks = spoil(x, "bright", 0, x)
    for image, mask in zip(out, masks, strict=True):
        assert image[mask].max() == 1
        assert image.min() < 0.92
        assert image.min() == image[~mask].min() == image[~mask].median()


def test_blur_loses_texture():
    x = pictures()
    out, masks = spoil(x, "blur", 0, x)
    gradient = [(images.diff(dim=-1).abs() * masks[..., 1:]).sum() for images in (x, out)]
    assert gradient[1] < 0.8 * gradient[0]


def test_a_foreign_piece_comes_from_the_others():
    x, white = 0.2 + 0.3 * pictures(), torch.ones(2, 1, SIZE, SIZE)
    out, masks = spoil(x, "foreign", 0, white)
    assert (out >= x).all()
    assert (out[masks].mean() > x[masks].mean() + 0.1).all()


def test_an_image_without_foreground_is_spoiled_too():
    x = torch.zeros(2, 1, SIZE, SIZE)
    out, masks = spoil(x, "bright", 0, x)
    assert (out[masks] > 0).all()
    assert masks.flatten(1).any(1).all()


def test_the_input_is_left_alone():
    x = pictures()
    copy = x.clone()
    for kind in KINDS:
        spoil(x, kind, 0, x)
    assert torch.equal(x, copy)
