"""Whether a picture looks as if text were burned into it: lines of small, thin, bright marks of one height."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse.csgraph import connected_components

__all__ = ["text_share"]

LONGEST_SIDE = 1024
"""Larger pictures are shrunk first, each block to its brightest pixel, so that strokes stay."""

CONTRAST = 0.25
"""Share of the picture's range by which a stroke is brighter than what is around it."""

SATURATED = 0.8
"""Share of the picture's range that a mark reaches: text is drawn at the brightest value there is."""

FEWEST_LETTERS = 4
"""In a line. Films carry a single R or L, which names nobody."""

MOST_MARKS = 2000
"""Of a picture; with more they are its texture."""


def text_share(pixels: NDArray[np.float32]) -> float:
    """Share of the picture that lines of text cover, as far as so simple a look can tell.

    Strokes are what a white top-hat leaves (Serra 1982): bright, and thinner than a fiftieth of the picture. Connected
    strokes of a letter's height are marks, of one letter or of several that touch; marks of one height side by side, of
    four letters or more, are a line. Only the outer quarters of the picture are looked at: within, anatomy makes lines.

    Args:
        pixels: (H, W), finite, large = bright, any units, at the file's own resolution.

    Returns:
        In [0, 1]; 0 where there is no line.
    """
    x = _shrunk(pixels)
    low, high = float(x.min()), float(x.max())
    if high <= low:
        return 0.0
    x = (x - low) / (high - low)
    return _lines(*_marks(x)) / x.size


def _shrunk(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    step = -(-max(pixels.shape) // LONGEST_SIDE)
    rows, columns = (n // step * step for n in pixels.shape)
    if step == 1 or not rows or not columns:
        return pixels
    blocks = pixels[:rows, :columns].reshape(rows // step, step, columns // step, step)
    return np.asarray(blocks.max(axis=(1, 3)))


def _marks(x: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Boxes (N, 4) of marks (top, bottom, left, right), and how many letters each may be, (N,)."""
    thickest = max(5, round(max(x.shape) / 50))
    strokes = x - ndimage.grey_opening(x, size=(thickest, thickest)) > CONTRAST
    labels, count = ndimage.label(strokes, structure=np.ones((3, 3)))
    brightest = ndimage.maximum(x, labels, np.arange(1, count + 1))
    tallest = max(12, max(x.shape) // 15)
    boxes, letters = [], []
    for place, peak, label in zip(ndimage.find_objects(labels), brightest, range(1, count + 1), strict=True):
        height, width = (side.stop - side.start for side in place)
        if peak < SATURATED or not 5 <= height <= tallest or not _is_outside(place, x.shape):
            continue
        upright = _strokes_a_row(labels[place] == label)
        if width <= 2 * height * upright:
            boxes.append([end for side in place for end in (side.start, side.stop)])
            letters.append(upright)
    return np.array(boxes, dtype=np.int64).reshape(-1, 4), np.array(letters)


def _is_outside(place: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    """Whether the place's middle is within a quarter of the picture from any of its borders."""
    middles = ((side.start + side.stop) / 2 / length for side, length in zip(place, shape, strict=True))
    return any(abs(middle - 0.5) > 0.25 for middle in middles)


def _strokes_a_row(mark: NDArray[np.bool_]) -> float:
    """How many strokes a row crosses on average: 1 or 2 in a letter, more in letters that touch."""
    starts = mark & ~np.pad(mark, ((0, 0), (1, 0)))[:, :-1]
    return float(starts.sum() / len(mark))


def _lines(boxes: NDArray[np.int64], letters: NDArray[np.float64]) -> int:
    """Pixels that the marks of lines cover, their boxes taken as filled."""
    if not 1 <= len(boxes) <= MOST_MARKS:
        return 0
    top, bottom, left, right = boxes.T
    height = bottom - top
    smaller = np.minimum.outer(height, height)
    alike = np.maximum.outer(height, height) <= 1.5 * smaller
    level = np.abs(np.subtract.outer(bottom, bottom)) <= 0.25 * smaller
    # from one mark's right end to the next one's left end, whichever comes first
    gap = np.maximum.outer(left, left) - np.minimum.outer(right, right)
    _, line = connected_components(alike & level & (gap <= smaller), directed=False)
    long_enough = np.bincount(line, weights=letters)[line] >= FEWEST_LETTERS
    area = height * (right - left)
    return int(area[long_enough].sum())
