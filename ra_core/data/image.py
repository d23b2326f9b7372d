"""The only door for pixels: whichever file an image comes from, the method gets it from here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ra_core.config import LimitsConfig, PreprocessingConfig
from ra_core.data.geometry import Geometry
from ra_core.data.preprocess import preprocess
from ra_core.data.readers import Kind, RawImage, Reading, read_pixels
from ra_core.data.readers.reading import USUAL_LIMITS

__all__ = ["Image", "load_image", "prepare"]


@dataclass(frozen=True)
class Image:
    """A preprocessed image.

    Attributes:
        pixels: float32 (1, S, S) in [0, 1].
        spacing: millimetres between rows and between columns of `pixels`, or None where the file doesn't say.
        kind: what the file was.
        geometry: takes masks to this grid, and maps back to the file's.
    """

    pixels: NDArray[np.float32]
    spacing: tuple[float, float] | None
    kind: Kind
    geometry: Geometry


def load_image(
    path: Path, preprocessing: PreprocessingConfig, frame: int = 0, limits: LimitsConfig = USUAL_LIMITS
) -> Image:
    """Read and preprocess one picture of a file.

    Raises:
        DataError: the file can't be read, or the picture is unfit; see `read_pixels`.
    """
    return prepare(read_pixels(path, Reading.of(preprocessing, limits), frame), preprocessing)


def prepare(raw: RawImage, preprocessing: PreprocessingConfig) -> Image:
    """Preprocess a picture that was read."""
    rows, columns = raw.pixels.shape
    geometry = Geometry.of((rows, columns), raw.spacing, preprocessing.size)
    return Image(preprocess(raw.pixels, geometry, preprocessing), geometry.spacing(raw.spacing), raw.kind, geometry)
