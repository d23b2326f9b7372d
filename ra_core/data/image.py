"""The only door for pixels: whichever file an image comes from, the method gets it from here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ra_core.config import PreprocessingConfig
from ra_core.data.preprocess import preprocess, preprocess_mask
from ra_core.data.readers import Kind, RawImage, read_mask, read_pixels
from ra_core.errors import DataError

__all__ = ["Image", "load_image", "load_mask"]

_SQUARE_WITHIN = 0.02


@dataclass(frozen=True)
class Image:
    """A preprocessed image.

    Attributes:
        pixels: float32 (1, S, S) in [0, 1].
        spacing: millimetres between rows and between columns of `pixels`, or None where the file doesn't say.
        kind: what the file was.
    """

    pixels: NDArray[np.float32]
    spacing: tuple[float, float] | None
    kind: Kind


def load_image(path: Path, preprocessing: PreprocessingConfig) -> Image:
    """Read and preprocess one image.

    Raises:
        DataError: the file can't be read (see `read_pixels`), or its pixels are not square.
    """
    raw = _read(path, preprocessing)
    step = max(raw.pixels.shape) / preprocessing.size
    spacing = (raw.spacing[0] * step, raw.spacing[1] * step) if raw.spacing else None
    return Image(preprocess(raw.pixels, preprocessing), spacing, raw.kind)


def load_mask(path: Path, image_path: Path, preprocessing: PreprocessingConfig) -> NDArray[np.bool_]:
    """Read a mask and take it through its image's geometry: bool (S, S).

    Raises:
        DataError: either file can't be read, or they differ in size.
    """
    mask = read_mask(path, preprocessing.slice_position)
    shape = _read(image_path, preprocessing).pixels.shape
    if mask.shape != shape:
        sizes = f"{mask.shape[0]} × {mask.shape[1]} pixels for an image of {shape[0]} × {shape[1]}"
        raise DataError(f"{path}: a mask of {sizes}", "draw the mask on the image's own grid")
    return preprocess_mask(mask, preprocessing.size)


def _read(path: Path, preprocessing: PreprocessingConfig) -> RawImage:
    raw = read_pixels(path, preprocessing.slice_position)
    if raw.spacing and abs(raw.spacing[0] / raw.spacing[1] - 1) > _SQUARE_WITHIN:
        mm = f"{raw.spacing[0]:.3g} × {raw.spacing[1]:.3g} mm"
        raise DataError(f"{path}: pixels of {mm} are not square", "resample it to square pixels, the mask with it")
    return raw
