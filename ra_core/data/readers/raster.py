"""PNG, JPEG, TIFF and BMP pictures through Pillow, at their own depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from ra_core.data.readers.refusal import Refusal, refuse_size

__all__ = ["read_raster"]

_GREY = ("1", "L", "I;16", "I;16B", "I", "F")
_WHITE_IS_ZERO = 0  # TIFF tag 262


def read_raster(path: Path, max_pixels: int) -> tuple[NDArray[np.float32], None]:
    """Pixels (H, W) with the EXIF turn applied; a raster picture tells no trustworthy spacing.

    Raises:
        Refusal: colour, transparency, palette, several pictures in the file, or too many pixels.
    """
    try:
        image = PIL.Image.open(path, formats=("PNG", "JPEG", "TIFF", "BMP"))
    except PIL.Image.DecompressionBombError:
        raise Refusal("too many pixels", f"export it with no more than {max_pixels} pixels") from None
    with image:
        refuse_size(image.height, image.width, max_pixels)
        if getattr(image, "n_frames", 1) > 1:
            raise Refusal("several pictures in one file", "export each as a file of its own")
        if image.format == "TIFF" and image.getexif().get(262) == _WHITE_IS_ZERO and image.mode not in ("1", "L"):
            # Pillow turns the grey scale round only up to 8 bits
            raise Refusal("TIFF with white as zero and more than 8 bits", "export it with black as zero")
        if image.mode not in (*_GREY, "RGB"):
            raise Refusal(f"picture of mode {image.mode}, not grey", "export it as grey PNG, 8 or 16 bits")
        pixels = np.asarray(PIL.ImageOps.exif_transpose(image))
    return _grey(pixels).astype(np.float32), None


def _grey(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """The one channel; colour is refused, as its channels may be different sequences of a scan."""
    if pixels.ndim == 2:
        return pixels
    if not (pixels == pixels[:, :, :1]).all():
        raise Refusal("colour picture whose channels differ", "export the channel that is meant as a grey picture")
    return pixels[:, :, 0]
