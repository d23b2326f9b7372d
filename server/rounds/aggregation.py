"""How the sites' updates become one: a mean that few bad sites can't move far.

It works on the integer codes of `ra_core.fixed_point`, so no result depends on the order of sites or tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ra_core.fixed_point import Codes, check_update, decode

__all__ = ["Combiner", "TrimmedMean", "dropped"]

CHUNK = 1 << 16
"""Weights looked at together: the scratch memory of a trimmed mean grows with this, not with the model."""


class Combiner(Protocol):
    """What makes one mean update of many: `ra_core.fixed_point.WeightedSum` or `TrimmedMean`.

    Attributes:
        count: images of all sites added.
    """

    count: int

    def add(self, codes: Mapping[str, Codes], count: int) -> None:
        """Take one site's codes with the number of its images; refuse bad ones with a ValueError and add nothing."""

    def mean(self) -> dict[str, NDArray[np.float64]]:
        """The combined update, by name; a ValueError where nothing is left to take the mean of."""


def dropped(share: float, sites: int) -> int:
    """Values that a trimmed mean over the sites leaves out at each end, ⌊share · sites⌋; 0 makes it a plain mean."""
    return math.floor(share * sites + 1e-9)  # plus a hair: 0.29 * 100 is a little less than 29


class TrimmedMean:
    """Mean of each weight over the sites, without the lowest and highest values (Yin et al. 2018).

    Every site counts the same, whatever its number of images: a count is a site's own claim. The kept codes are summed
    as integers and divided once, so no arrival order matters.

    Memory: all updates are held until the mean is taken, sites × model × 4 bytes; the arrays given are kept, not
    copied. The mean itself goes through the model in chunks, with some `CHUNK` × sites × 8 bytes on top.

    Args:
        shapes: of the arrays, by name.
        share: of the sites whose value is left out at each end, below one half.

    Raises:
        ValueError: the share is not from 0 to below one half.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], share: float) -> None:
        if not 0 <= share < 0.5:
            raise ValueError(f"a share of {share} can't be left out at both ends: it has to be from 0 to below 0.5")
        self._shapes, self._share = dict(shapes), share
        self._updates: list[dict[str, Codes]] = []
        self.count = 0

    def add(self, codes: Mapping[str, Codes], count: int) -> None:
        """Keep one site's codes; the number of its images only adds to `count`.

        Raises:
            RangeError: the count is not positive or the total too large, or a code is out of range; nothing was added.
            ValueError: names, shapes or types are not those expected; nothing was added.
        """
        check_update(codes, count, self.count, self._shapes)
        self._updates.append(dict(codes))
        self.count += count

    def mean(self) -> dict[str, NDArray[np.float64]]:
        """Trimmed mean of the updates, by name.

        Raises:
            ValueError: nothing was added, or nothing is left after trimming.
        """
        sites = len(self._updates)
        cut = dropped(self._share, sites)
        if 2 * cut >= sites:
            raise ValueError(f"the trimmed mean of {sites} updates without {cut} at each end")
        return {name: self._layer(name, cut) for name in self._shapes}

    def _layer(self, name: str, cut: int) -> NDArray[np.float64]:
        rows = [update[name].reshape(-1) for update in self._updates]
        kept = slice(cut, len(rows) - cut)
        means = np.empty(rows[0].size, np.float64)
        for start in range(0, means.size, CHUNK):
            part = slice(start, start + CHUNK)
            ranked = np.sort(np.stack([row[part] for row in rows], axis=1), axis=1)
            means[part] = decode(ranked[:, kept].sum(axis=1, dtype=np.int64)) / (kept.stop - kept.start)
        return means.reshape(self._shapes[name])
