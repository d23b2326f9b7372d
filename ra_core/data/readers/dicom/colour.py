"""Colour pictures that are grey all the same (DICOM PS3.3 C.7.6.3.1.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from ra_core.data.readers.refusal import Reason, Refusal

__all__ = ["grey"]

_ROUNDING = 2 / 255
"""Largest difference between channels of a grey picture, as a share of the range: what YBR and JPEG round away."""


def grey(samples: NDArray[np.integer], ds: Dataset, photometric: str) -> NDArray[np.float64]:
    """The one channel of a picture in RGB or palette colours whose channels are equal.

    Args:
        samples: (H, W, 3), which the decoder has turned from YBR to RGB; (H, W) indices of a palette.
        ds: holds the palette.
        photometric: of the file.

    Returns:
        float64 (H, W).

    Raises:
        Refusal: real colour, whose channels may be anything; never one of them alone is taken.
    """
    colours = apply_color_lut(samples, ds) if photometric == "PALETTE COLOR" else samples
    low, high = colours.min(axis=-1).astype(np.float64), colours.max(axis=-1).astype(np.float64)
    if (high - low).max() > _ROUNDING * np.iinfo(colours.dtype).max:
        raise Refusal(Reason.COLOUR_IMAGE, "a colour picture", "export it in grey")
    return np.asarray(colours.mean(axis=-1, dtype=np.float64))
