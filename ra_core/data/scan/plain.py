"""Plain numbers and the small copy of a preprocessed picture: what checks, and later scores, are compared by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ra_core.data.scan.records import THUMBNAIL

__all__ = ["plain_numbers", "thumbnail"]


def plain_numbers(image: NDArray[np.float32]) -> dict[str, float]:
    """Mean grey, standard deviation, share of pixels over 0.1 and mean gradient magnitude of an image (S, S) in [0, 1].

    They are called as in `Picture`, and are in [0, 1] too.
    """
    return {
        "mean": float(image.mean()),
        "spread": float(image.std()),
        "foreground": float((image > 0.1).mean()),
        "sharpness": float(np.hypot(*np.gradient(image)).mean()),
    }


def thumbnail(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The image (S, S) in [0, 1], shrunk to uint8 (THUMBNAIL, THUMBNAIL)."""
    block = len(image) // THUMBNAIL  # a whole number: sizes are multiples of 32
    means = image.reshape(THUMBNAIL, block, THUMBNAIL, block).mean(axis=(1, 3))
    return np.asarray(np.rint(means * 255).astype(np.uint8))
