"""From a picture's own grid to the square that a method sees, and back."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.Image import Resampling

from ra_core.data.boxes import Box

__all__ = ["Geometry", "Place", "resample", "square_shape"]

Place = tuple[slice, slice]
"""A rectangle of whole pixels: rows and columns, so that `x[place]` are its pixels."""

_SQUARE_WITHIN = 0.02


def square_shape(shape: tuple[int, int], spacing: tuple[float, float] | None) -> tuple[int, int]:
    """Rows and columns of a picture resampled to square pixels of its finer spacing.

    Args:
        shape: rows and columns of the picture.
        spacing: millimetres between rows and between columns, both positive. Unknown ones, and such that differ by no
            more than 2 %, count as square.
    """
    if spacing is None or abs(spacing[0] / spacing[1] - 1) <= _SQUARE_WITHIN:
        return shape
    finer = min(spacing)
    return max(1, round(shape[0] * spacing[0] / finer)), max(1, round(shape[1] * spacing[1] / finer))


@dataclass(frozen=True)
class Geometry:
    """Resample to square pixels, centre in a square, resize.

    Attributes:
        shape: rows and columns of the picture as it was read.
        squared: the same with square pixels.
        size: side of the preprocessed image.
    """

    shape: tuple[int, int]
    squared: tuple[int, int]
    size: int

    @classmethod
    def of(cls, shape: tuple[int, int], spacing: tuple[float, float] | None, size: int) -> Geometry:
        """Of a picture (H, W) with pixels of `spacing` millimetres."""
        return cls(shape, square_shape(shape, spacing), size)

    @property
    def side(self) -> int:
        """Of the square that the picture is centred in, in square pixels."""
        return max(self.squared)

    @property
    def margins(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns added before and after; an odd one goes below or to the right."""
        rows, columns = (((self.side - n) // 2, self.side - n - (self.side - n) // 2) for n in self.squared)
        return rows, columns

    def spacing(self, native: tuple[float, float] | None) -> tuple[float, float] | None:
        """Millimetres between rows and between columns of the preprocessed image, from those of the picture."""
        if native is None:
            return None
        rows, columns = (mm * n / m for mm, n, m in zip(native, self.shape, self.squared, strict=True))
        return rows * self.side / self.size, columns * self.side / self.size

    def to_size(self, x: NDArray[np.floating], method: Resampling = Resampling.BILINEAR) -> NDArray[np.float32]:
        """Float32 (S, S) of a picture (H, W), antialiased where it shrinks, with 0 around it."""
        return resample(np.pad(resample(x, self.squared, method), self.margins), (self.size, self.size), method)

    def to_square(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Take a mask (H, W) through the geometry: bool (S, S), empty only if the mask is.

        A pixel is inside where at least half of it is covered; where no pixel is, those that are covered most are, so
        that a thin lesion doesn't vanish.
        """
        coverage = self.to_size(mask.astype(np.float32), Resampling.BOX)
        return np.asarray((coverage > 0) & (coverage >= min(0.5, coverage.max())))

    def boxes_to_square(self, boxes: Iterable[Box]) -> tuple[Place, ...]:
        """Take boxes on a picture (H, W) through the geometry: each as pixels of (S, S).

        Those whose centres are in the box, and one at least; what lies beyond the picture is cut off.
        """
        return tuple((self._pixels(0, box.top, box.bottom), self._pixels(1, box.left, box.right)) for box in boxes)

    def to_native(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """A map (S, S) on the picture's own grid: float32 (H, W)."""
        step = self.size / self.side
        (top, _), (left, _) = self.margins
        rows, columns = self.squared
        box = (left * step, top * step, (left + columns) * step, (top + rows) * step)
        return resample(x, self.shape, box=box)

    def _pixels(self, axis: int, start: float, stop: float) -> slice:
        """Pixels of the image whose centres lie between two places of the picture, or the one at their middle."""
        scale, margin = self.squared[axis] / self.shape[axis], self.margins[axis][0]
        step = self.size / self.side
        begin, end = ((min(max(place, 0), self.shape[axis]) * scale + margin) * step for place in (start, stop))
        first, last = math.ceil(begin - 0.5), math.ceil(end - 0.5)
        if first >= last:
            first = min(math.floor((begin + end) / 2), self.size - 1)
            last = first + 1
        return slice(first, last)


def resample(
    x: NDArray[np.floating],
    shape: tuple[int, int],
    method: Resampling = Resampling.BILINEAR,
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[np.float32]:
    """Float32 x with other numbers of rows and columns, antialiased where it shrinks.

    Args:
        x: (H, W), finite.
        shape: rows and columns wanted.
        method: Pillow's filter.
        box: left, top, right and bottom of the part of x that is meant, in its pixels; all of it when None.
    """
    image = PIL.Image.fromarray(np.ascontiguousarray(x, dtype=np.float32))
    return np.array(image.resize((shape[1], shape[0]), method, box), dtype=np.float32)
