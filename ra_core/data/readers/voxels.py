"""The numbers of a NIfTI volume: read once, scaled slice by slice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ra_core.data.readers.refusal import Reason, Refusal
from ra_core.data.readers.unpack import Part

__all__ = ["Voxels"]

_MAX_NAN = 0.5
"""Share of voxels that may be NaN: how some programs write what lies outside of the body."""

_MAX_INFINITE = 0.01
"""Share that may be infinite: what a division gave at a few places."""


@dataclass(frozen=True)
class Voxels:
    """One volume of a file.

    Attributes:
        path: the file.
        part: the volume's bytes in it.
        dtype: of one stored voxel.
        shape: voxels along the stored axes (X, Y, Z), the first varying fastest.
        slope, inter: from stored numbers to values.
    """

    path: Path
    part: Part
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    slope: float
    inter: float

    @cached_property
    def stored(self) -> NDArray[np.generic]:
        """As they stand in the file (X, Y, Z).

        Raises:
            Refusal: the file ends early or is damaged.
        """
        return self.part.read(self.path).view(self.dtype).reshape(self.shape, order="F")

    @cached_property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest finite value.

        Raises:
            Refusal: as `stored`; most voxels are NaN, more than a few are infinite, or all have the same value.
        """
        low, high = self.stored.min(), self.stored.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            if np.isnan(self.stored).mean() > _MAX_NAN or np.isinf(self.stored).mean() >= _MAX_INFINITE:
                raise Refusal(Reason.NOT_FINITE, "many voxels are NaN or infinite", "export the volume again")
            finite = np.isfinite(self.stored)
            low, high = self.stored.min(where=finite, initial=np.inf), self.stored.max(where=finite, initial=-np.inf)
        if low == high:
            raise Refusal(Reason.CONSTANT_IMAGE, "every voxel has the same value", "leave it out")
        lowest, highest = sorted(self.scaled(np.array([low, high])).tolist())
        return lowest, highest

    def scaled(self, stored: NDArray[np.generic]) -> NDArray[np.float64]:
        """Values of stored numbers."""
        return stored.astype(np.float64) * self.slope + self.inter
