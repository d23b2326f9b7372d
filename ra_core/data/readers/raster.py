"""PNG, JPEG, TIFF and BMP pictures through Pillow, at their own depth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from ra_core.data.readers.reading import Reading
from ra_core.data.readers.refusal import Reason, Refusal, refuse_size, truncated
from ra_core.data.readers.source import Facts, Note, RawImage
from ra_core.data.readers.windows import WINDOWS

__all__ = ["RasterSource", "open_raster"]

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_GREY = ("1", "L", "LA", "I;16", "I;16B", "I", "F")
_COLOUR = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags
_WHITE_IS_ZERO = 0
_AS_GREY = "export it as grey PNG, 8 or 16 bits"


@dataclass(frozen=True)
class RasterSource:
    """One picture, upright.

    Attributes:
        pixels: (H, W) in the stored type.
        bits: stored a sample.
        windowed: whether a window in HU is asked for, which a raster picture can't follow.
    """

    pixels: NDArray[np.generic]
    bits: int
    windowed: bool

    @property
    def facts(self) -> Facts:
        """A raster picture tells no trustworthy spacing, and its texts and times are not read."""
        rows, columns = self.pixels.shape
        return Facts("raster", 1, (rows, columns), bits=self.bits)

    def picture(self, index: int) -> RawImage:
        """The picture, of which there is one."""
        notes = (Note.WINDOW_NOT_APPLIED,) if self.windowed else ()
        return RawImage(self.pixels[None][index].astype(np.float32), None, "raster", notes)


def open_raster(path: Path, reading: Reading) -> RasterSource:
    """Decode one picture, with the EXIF turn applied; its size is checked before.

    Raises:
        Refusal: cut off, real colour, several pictures in the file, more than 8 bits that Pillow would cut to 8, or too
            many pixels.
    """
    # from a stream, as Pillow maps a path into memory, and then garbles an uncompressed TIFF that is to be turned
    with path.open("rb") as stream:
        image = _header(stream, reading.max_pixels)
        bits = _bits(stream, image)
        _refuse(image, bits)
        try:
            pixels = _grey(PIL.ImageOps.exif_transpose(image))
        except OSError as error:
            if "truncated" in str(error):
                raise truncated() from None
            raise
        if _white_is_zero(image):
            pixels = (1 << bits) - 1 - pixels.astype(np.int64)
        if image.format == "PNG":
            stream.seek(0)
            PIL.Image.open(stream, formats=("PNG",)).verify()  # the check sums, which decoding leaves out
    return RasterSource(pixels, bits, reading.window in WINDOWS)


def _header(stream: BinaryIO, max_pixels: int) -> PIL.Image.Image:
    """A picture of which nothing is decoded yet, and of a fit size."""
    try:
        image = PIL.Image.open(stream, formats=_FORMATS)
    except PIL.Image.DecompressionBombError:
        hint = f"export it with no more than {max_pixels} pixels"
        raise Refusal(Reason.TOO_LARGE, "far too many pixels", hint) from None
    refuse_size(image.height, image.width, max_pixels)
    return image


def _bits(stream: BinaryIO, image: PIL.Image.Image) -> int:
    """Stored a sample; of a palette, those of its colours."""
    if image.mode == "1":
        return 1
    if image.mode in ("P", "PA"):
        return 8
    if image.format == "PNG":
        place = stream.tell()
        stream.seek(24)  # in IHDR, which comes first
        depth = stream.read(1)[0]
        stream.seek(place)
        return depth
    return max(_tag(image, _BITS_PER_SAMPLE) or (8,)) if image.format == "TIFF" else 8


def _refuse(image: PIL.Image.Image, bits: int) -> None:
    if getattr(image, "n_frames", 1) > 1:
        raise Refusal(Reason.UNSUPPORTED_CONTENT, "several pictures in one file", "export each as a file of its own")
    if image.mode not in (*_GREY, *_COLOUR):
        raise Refusal(Reason.COLOUR_IMAGE, f"colours of mode {image.mode}", _AS_GREY)
    if image.mode in _COLOUR and bits > 8:
        raise Refusal(Reason.UNSUPPORTED_CONTENT, f"{bits} bits a colour, of which 8 would be lost", _AS_GREY)
    if _white_is_zero(image) and not image.mode.startswith("I;16"):
        raise Refusal(Reason.UNSUPPORTED_CONTENT, "white is zero, in numbers that have no largest", _AS_GREY)


def _white_is_zero(image: PIL.Image.Image) -> bool:
    """Whether a TIFF is inverted; with up to 8 bits, Pillow turns it round itself."""
    deep = image.mode not in ("1", "L", "LA")
    return deep and image.format == "TIFF" and _tag(image, _PHOTOMETRIC) == (_WHITE_IS_ZERO,)


def _tag(image: PIL.Image.Image, number: int) -> tuple[int, ...]:
    """Values of a TIFF tag; none where it is missing."""
    value = image.getexif().get(number, ())
    return value if isinstance(value, tuple) else (value,)


def _grey(image: PIL.Image.Image) -> NDArray[np.generic]:
    """The one channel; alpha is no intensity. Colour is refused: its channels may be different sequences of a scan."""
    if image.mode in ("P", "PA", "CMYK", "YCbCr"):
        image = image.convert("RGB")
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        return pixels
    if image.mode == "LA":
        return pixels[:, :, 0]
    colours = pixels[:, :, :3]
    if not (colours == colours[:, :, :1]).all():
        raise Refusal(Reason.COLOUR_IMAGE, "colour picture whose channels differ", "export the channel that is meant")
    return colours[:, :, 0]
