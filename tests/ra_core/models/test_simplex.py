import math

import numpy as np
import pytest
import torch

from ra_core.models.simplex import SKEW, UNSKEW, VARIANCE, octave, simplex_noise
from ra_core.rng import generator

OCTAVES = {"octaves": 6, "persistence": 0.8, "wavelength": 64.0}


def draw(name, *shape, seed=0):
    return torch.randn(*shape, generator=generator(seed, name))


def one_value(directions, offset, row, column, wavelength):
    """Simplex noise at one pixel, from its definition: all corners around, not only those of its triangle."""
    y, x = row / wavelength, column / wavelength
    v, u = y + SKEW * (x + y) + offset[0], x + SKEW * (x + y) + offset[1]
    total = 0.0
    for j in range(math.floor(v) - 1, math.floor(v) + 3):
        for i in range(math.floor(u) - 1, math.floor(u) + 3):
            dv, du = v - j, u - i
            way = np.array([dv - UNSKEW * (dv + du), du - UNSKEW * (dv + du)])
            bump = max(0.0, 0.5 - way @ way) ** 4
            if bump > 1e-9:  # rounding at a bump's edge may reach for corners that aren't there
                total += bump * (directions[j, i] @ way)
    return total


@pytest.mark.parametrize("wavelength", [2.0, 5.0, 40.0])
def test_an_octave_is_its_definition_at_every_pixel(wavelength):
    size, offset = 12, torch.tensor([[0.3, 0.9]])
    angles = torch.rand(1, 20, 20, generator=generator(0, "angles")) * 2 * math.pi
    directions = torch.stack([angles.cos(), angles.sin()], -1)
    found = octave(directions, offset, size, wavelength)[0]
    for row in range(size):
        for column in range(size):
            expected = one_value(directions[0].double().numpy(), offset[0].tolist(), row, column, wavelength)
            assert float(found[row, column]) == pytest.approx(expected, abs=2e-6)


def test_it_vanishes_on_corners_and_is_not_normalised_there():
    directions = torch.nn.functional.normalize(torch.randn(1, 9, 9, 2, generator=generator(0, "d")), dim=-1)
    field = octave(directions, torch.zeros(1, 2), 8, 4.0)
    assert field[0, 0, 0] == 0
    assert field.abs().max() > 0


def test_each_pixel_has_mean_0_and_variance_1_over_all_fields():
    fields = simplex_noise(draw, 4000, 6, **OCTAVES)
    assert fields.shape == (4000, 1, 6, 6)
    assert fields.mean(0).abs().max() < 0.08
    assert (fields.var(0) - 1).abs().max() < 0.12
    assert abs(float(fields.var(0).mean()) - 1) < 0.05


def test_the_variance_of_an_octave_is_the_integral_over_its_bumps():
    fields = simplex_noise(draw, 20_000, 2, octaves=1, persistence=1.0, wavelength=1.7)
    assert float((fields * math.sqrt(VARIANCE)).var()) == pytest.approx(VARIANCE, rel=0.03)


def test_neighbours_are_alike_and_the_first_octaves_reach_farther():
    def correlation(distance, **settings):
        fields = simplex_noise(draw, 150, 33, **OCTAVES | settings)
        return float((fields[..., :-distance] * fields[..., distance:]).mean())

    near, middle, far = (correlation(d) for d in (1, 4, 16))
    assert 0.95 > near > middle > far > 0
    assert correlation(1, octaves=1) > 0.99
    assert correlation(4, persistence=0.3) > middle


def test_an_octave_of_twice_the_wavelength_is_the_same_noise_drawn_twice_as_large():
    directions, offsets = torch.randn(2, 30, 30, 2, generator=generator(0, "d")), torch.rand(2, 2)
    small, large = octave(directions, offsets, 8, 3.0), octave(directions, offsets, 16, 6.0)
    torch.testing.assert_close(large[:, ::2, ::2], small)


@pytest.mark.parametrize("size", [1, 2, 33, 64])
@pytest.mark.parametrize("wavelength", [0.5, 2.0, 64.0])
def test_no_corner_is_missing_even_at_the_ends_of_the_offsets(size, wavelength):
    def extreme(name, *shape):
        return torch.full(shape, 9.0 if "offset" in name else 1.0)

    field = simplex_noise(extreme, 1, size, octaves=1, persistence=1.0, wavelength=wavelength)
    assert field.shape == (1, 1, size, size)
    assert torch.isfinite(field).all()


def test_it_depends_on_the_draws_alone():
    first = simplex_noise(draw, 3, 16, **OCTAVES)
    torch.rand(3)
    assert torch.equal(first, simplex_noise(draw, 3, 16, **OCTAVES))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, simplex_noise(lambda *a: draw(*a, seed=1), 3, 16, **OCTAVES))
