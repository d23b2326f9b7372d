"""Simplex noise in the plane, in octaves: coherent noise, for diffusion models that are to heal whole regions.

Each corner of a lattice of equilateral triangles has a random direction, and a point's value is the sum of what its
triangle's corners give, each its direction's slope times a bump that ends where the triangles next to it do. Directions
are drawn corner by corner rather than looked up by a hash, so the noise never repeats itself.

References:
    Perlin, "Noise hardware", 2001; Gustavson, "Simplex noise demystified", 2005.
    Wyatt et al., "AnoDDPM: Anomaly detection with denoising diffusion probabilistic models using simplex noise",
    CVPR workshops 2022 (octaves of half the wavelength, amplitudes that decay).
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Draw", "octave", "simplex_noise"]

SKEW = (math.sqrt(3) - 1) / 2
"""Adding this times the sum of its coordinates takes a point to where the lattice is that of the integers."""

UNSKEW = (3 - math.sqrt(3)) / 6
"""Subtracting this times the sum takes it back."""

REACH = 0.5
"""Squared radius of a bump: the squared height of a triangle."""

VARIANCE = math.sqrt(3) * math.pi / 180 * REACH**10
"""Of an octave at a random point: √3 corners an area, times the plane's integral of (REACH − d²)⁸ d²/2, since a random
direction's squared slope is d²/2 on average."""


class Draw(Protocol):
    """A source of random numbers, as `StepState.noise` is one."""

    def __call__(self, name: str, *shape: int) -> Tensor:
        """Standard normal numbers that depend on the name and what the source is for."""
        ...


def simplex_noise(draw: Draw, count: int, size: int, *, octaves: int, persistence: float, wavelength: float) -> Tensor:
    """Noise fields with mean 0 and variance 1, over all fields, at each pixel: (count, 1, size, size).

    Args:
        draw: where randomness comes from; names begin with "simplex".
        count: of fields, each independent of the others.
        size: side in pixels.
        octaves: sums of noise at wavelength, wavelength / 2, wavelength / 4, ...
        persistence: an octave's amplitude, by that of the one before.
        wavelength: of the first octave, in pixels: the side of the lattice's triangles is √⅔ of it.
    """
    amplitudes = [persistence**number for number in range(octaves)]
    fields = [
        amplitude * _random_octave(draw, f"simplex {number}", count, size, wavelength / 2**number)
        for number, amplitude in enumerate(amplitudes)
    ]
    variance = VARIANCE * sum(amplitude**2 for amplitude in amplitudes)
    return torch.stack(fields).sum(0)[:, None] / math.sqrt(variance)


def _random_octave(draw: Draw, name: str, count: int, size: int, wavelength: float) -> Tensor:
    """(count, size, size); the lattice lies anywhere, or all octaves would vanish at their common corner."""
    offsets = torch.special.ndtr(draw(f"{name} offset", count, 2))  # uniform in a cell of the lattice
    corners = int(math.sqrt(3) * (size - 1) / wavelength) + 4  # the skewed side, the offset, the far corners, rounding
    directions = F.normalize(draw(f"{name} directions", count, corners, corners, 2), dim=-1)
    return octave(directions, offsets, size, wavelength)


def octave(directions: Tensor, offsets: Tensor, size: int, wavelength: float) -> Tensor:
    """One octave of simplex noise, not normalised: (count, size, size).

    Args:
        directions: of slopes at the lattice's corners, (count, K, K, 2), by the integers that corners are when skewed.
        offsets: (count, 2) in [0, 1], where the first pixel is in its skewed cell.
        size: side in pixels.
        wavelength: in pixels.
    """
    line = torch.arange(size, device=offsets.device) / wavelength
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij"))  # (2, size, size)
    skewed = grid + SKEW * grid.sum(0) + offsets[:, :, None, None]
    cell = skewed.floor()
    inside = skewed - cell  # (count, 2, size, size) in [0, 1)
    first = (inside[:, :1] > inside[:, 1:]).to(inside.dtype)  # which of the cell's two triangles
    middle = torch.cat([first, 1 - first], 1)
    corners = (torch.zeros_like(middle), middle, torch.ones_like(middle))
    return torch.stack([_corner(directions, cell + corner, inside - corner) for corner in corners]).sum(0)


def _corner(directions: Tensor, corner: Tensor, skewed_way: Tensor) -> Tensor:
    """What one corner gives each pixel: slope times bump, (count, size, size)."""
    count, side = directions.shape[:2]
    place = (corner[:, 0] * side + corner[:, 1]).long().flatten(1)  # (count, size²)
    slopes = directions.flatten(1, 2).take_along_dim(place[:, :, None], 1)
    way = (skewed_way - UNSKEW * skewed_way.sum(1, keepdim=True)).flatten(2).transpose(1, 2)  # (count, size², 2)
    bump = (REACH - way.square().sum(2)).clamp_min(0) ** 4
    size = corner.shape[-1]
    return (bump * (slopes * way).sum(2)).view(count, size, size)
