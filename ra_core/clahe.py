"""Contrast-limited adaptive histogram equalisation (CLAHE) of many images at once.

It is scikit-image's `equalize_adapthist` at its defaults, as the authors of RA use it, to the last bit: tiles of an
eighth of each side, clip limit 0.01, 256 bins, 16,384 grey levels, each image stretched to its own range before and
after. Levels are rounded on the way, so a difference of one in a million can move a pixel by a level. All tiles of a
batch are worked on at once, where scikit-image goes from tile to tile.

References:
    Zuiderveld, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems IV, 1994.
    van der Walt et al., "scikit-image: image processing in Python", PeerJ 2:e453, 2014.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["equalize"]

LEVELS, BINS, CLIP, TILES = 2**14, 256, 0.01, 8

CHUNK = 2**16
"""Pixels worked on at a time on a processor: what is made of them on the way stays in its cache. Half as many take a
fifth longer, and 32 images of 256 x 256 at once twice as long."""


def equalize(x: Tensor) -> Tensor:
    """Equalise each image by itself: (N, 1, H, W) in [0, 1] -> the same, float32.

    A constant image has no contrast to equalise and comes back as it is (the stretch would divide by zero).

    Raises:
        ValueError: a side is below 8 pixels.
    """
    height, width = x.shape[-2:]
    if min(height, width) < TILES:
        raise ValueError(f"need images of at least {TILES} x {TILES} pixels, got {height} x {width}")
    count = max(1, CHUNK // (height * width)) if x.device.type == "cpu" else len(x)
    return torch.cat([_equalize(some[:, 0].double()) for some in torch.split(x, count)]).float()[:, None]


def _equalize(grey: Tensor) -> Tensor:
    """(N, H, W) float64."""
    height, width = grey.shape[-2:]
    out = _stretched(_equalized(_levels(grey), height // TILES, width // TILES), 1.0)
    constant = (grey == grey[:, :1, :1]).all(dim=(1, 2), keepdim=True)
    return torch.where(constant, grey, out)


def _levels(grey: Tensor) -> Tensor:
    """Greys (N, H, W) in [0, 1] as whole levels below `LEVELS`, float64, through 16 bits as scikit-image goes."""
    return _stretched((grey * 65535).round(), LEVELS - 1).round()


def _stretched(images: Tensor, top: float) -> Tensor:
    """Each of (N, H, W), float64, to [0, top] by its own range; a constant one has none and is clamped."""
    low, high = images.amin((1, 2), keepdim=True), images.amax((1, 2), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low) * top, images.clamp(0, top))


def _equalized(levels: Tensor, tall: int, wide: int) -> Tensor:
    """Levels (N, H, W) mapped by the histograms of the four tiles of `tall` x `wide` pixels around each pixel."""
    height, width = levels.shape[-2:]
    top, left = tall // 2, wide // 2
    bottom, right = -height % tall + (tall + 1) // 2, -width % wide + (wide + 1) // 2
    padded = F.pad(levels, (left, right, top, bottom), mode="reflect").long() // (1 + LEVELS // BINS)
    rows, columns = padded.shape[1] // tall, padded.shape[2] // wide
    inner = padded[:, top : top + (rows - 1) * tall, left : left + (columns - 1) * wide]
    maps = _mappings(_tiles(inner, tall, wide), tall * wide).reshape(len(levels), rows - 1, columns - 1, BINS)
    mixed = _mixed(maps, _tiles(padded, tall, wide), tall, wide)
    whole = mixed.reshape(len(levels), rows, columns, tall, wide).transpose(2, 3).reshape(padded.shape)
    return whole[:, top : top + height, left : left + width].double()


def _tiles(images: Tensor, tall: int, wide: int) -> Tensor:
    """(N, R·tall, C·wide) -> (N, R·C, tall·wide)."""
    n, height, width = images.shape
    split = images.reshape(n, height // tall, tall, width // wide, wide)
    return split.transpose(2, 3).reshape(n, -1, tall * wide)


def _mappings(tiles: Tensor, pixels: int) -> Tensor:
    """From bins of pixels (N, T, P) to the level that each bin is mapped to, (N, T, `BINS`)."""
    counts = torch.zeros(*tiles.shape[:2], BINS, dtype=torch.int32, device=tiles.device)
    counts.scatter_add_(2, tiles, torch.ones_like(tiles, dtype=torch.int32))
    counts = _clipped(counts.flatten(0, 1), max(1, int(CLIP * pixels))).view_as(counts)
    below = counts.cumsum(-1, dtype=torch.int32).double()
    return below.mul_((LEVELS - 1) / pixels).clamp_(max=LEVELS - 1).floor_().float()


def _clipped(counts: Tensor, limit: int) -> Tensor:
    """Histograms (T, `BINS`) cut at `limit`, what was cut off spread over the other bins."""
    excess = (counts - limit).clamp(min=0).sum(1, keepdim=True, dtype=torch.int32)
    counts = counts.clamp(max=limit)
    share = excess // BINS
    low = counts < limit - share
    counts, excess = counts + share * low, excess - share * low.sum(1, keepdim=True, dtype=torch.int32)
    middle = (counts >= limit - share) & (counts < limit)
    excess = excess - ((limit - counts) * middle).sum(1, keepdim=True, dtype=torch.int32)
    return _spread(counts.where(~middle, limit), excess, limit)


def _spread(counts: Tensor, excess: Tensor, limit: int) -> Tensor:
    """One more in every so manieth bin that is not full, from the first bin on, then from the second, and so on."""
    place, start = torch.arange(BINS, device=counts.device, dtype=counts.dtype), 0
    left = (excess[:, 0] > 0).nonzero()[:, 0]
    while len(left):
        some, over = counts[left], excess[left]
        room = some < limit
        step = (room.sum(1, keepdim=True, dtype=torch.int32) // over).clamp(min=1)
        given = room & (place >= start) & ((place - start) % step == 0)
        counts[left], excess[left] = some + given, over - given.sum(1, keepdim=True, dtype=torch.int32)
        left = left[(excess[left, 0] > 0) & room.any(1)]
        start = (start + 1) % BINS
    return counts


def _mixed(maps: Tensor, tiles: Tensor, tall: int, wide: int) -> Tensor:
    """Bins of pixels (N, R·C, P) mapped by maps (N, R - 1, C - 1, `BINS`) of four tiles, mixed bilinearly by place."""
    rows, columns = maps.shape[1] + 1, maps.shape[2] + 1
    down = (torch.arange(tall, device=maps.device).double() / tall).repeat_interleave(wide)
    across = (torch.arange(wide, device=maps.device).double() / wide).repeat(tall)
    beyond = _beyond_the_edge(_beyond_the_edge(maps, 1), 2)
    total = torch.zeros(tiles.shape, device=maps.device)
    for y in (0, 1):
        for x in (0, 1):
            corner = beyond[:, y : y + rows, x : x + columns].flatten(1, 2)
            weight = (across if x else 1 - across) * (down if y else 1 - down)
            total += (corner.gather(2, tiles) * weight).float()
    return total.floor()


def _beyond_the_edge(maps: Tensor, dim: int) -> Tensor:
    """The outermost tiles of a dimension once more, for the half tiles between them and the edge."""
    last = maps.shape[dim] - 1
    return torch.cat([maps.narrow(dim, 0, 1), maps, maps.narrow(dim, last, 1)], dim)
