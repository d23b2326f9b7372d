import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.exposure import equalize_adapthist

from ra_core.clahe import CHUNK, equalize
from ra_core.rng import generator


def pictures(n, height, width, seed=0):
    """Smooth pictures with a little noise, in [0, 1]."""
    g = generator(seed, "pictures")
    smooth = torch.nn.functional.interpolate(torch.rand(n, 1, 6, 6, generator=g), size=(height, width), mode="bicubic")
    return (0.8 * smooth + 0.1 * torch.rand(n, 1, height, width, generator=g)).clamp(0, 1)


def reference(x):
    return torch.from_numpy(np.stack([equalize_adapthist(image) for image in x[:, 0].double().numpy()])).float()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(8, 80),
    st.integers(8, 80),
    st.sampled_from(["noise", "dark", "few", "faint", "smooth", "half"]),
    st.integers(0, 99),
)
def test_each_image_is_equalised_to_the_bit_as_scikit_image_does(height, width, kind, seed):
    noise = torch.rand(2, 1, height, width, generator=generator(seed, kind))
    x = {
        "noise": noise,
        "dark": noise**8,
        "few": (noise * 3).round() / 3,
        "faint": 0.3 + 1e-4 * noise,
        "smooth": pictures(2, height, width, seed),
        "half": torch.where(noise > 0.5, noise, torch.zeros(())),
    }[kind]
    assert torch.equal(equalize(x)[:, 0], reference(x))


def test_large_images_are_too():
    """Tiles of so many pixels that what is cut off fills whole bins."""
    x = torch.cat([pictures(1, 256, 256), torch.rand(1, 1, 256, 256, generator=generator(0, "large")) ** 4])
    assert torch.equal(equalize(x)[:, 0], reference(x))


def test_an_image_does_not_depend_on_its_batch():
    x = pictures(2 * CHUNK // 64**2 + 1, 64, 64)
    alone = torch.cat([equalize(image[None]) for image in x])
    assert torch.equal(equalize(x), alone)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_constant_image_comes_back_unchanged(value):
    x = torch.cat([torch.full((1, 1, 64, 64), value), pictures(1, 64, 64)])
    out = equalize(x)
    assert torch.equal(out[0], x[0])
    assert not torch.equal(out[1], x[1])


def test_a_side_below_eight_pixels_is_refused():
    with pytest.raises(ValueError, match="8 x 8"):
        equalize(torch.rand(1, 1, 7, 64))


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1e-3), st.integers(0, 99))
def test_the_outcome_stays_in_range_even_with_hardly_any_contrast(level, contrast, seed):
    out = equalize((level + contrast * pictures(1, 32, 32, seed)).clamp(0, 1))
    assert out.isfinite().all()
    assert out.min() >= 0
    assert out.max() <= 1
