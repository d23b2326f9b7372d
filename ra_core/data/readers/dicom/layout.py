"""How a file's pixels are laid out, checked against its limits and its length before any is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from ra_core.data.readers.dicom.header import Header
from ra_core.data.readers.dicom.values import is_empty, text, whole
from ra_core.data.readers.refusal import Reason, Refusal, refuse_size

__all__ = ["Layout", "has_extra_bytes", "layout_of"]

_SAMPLES = {
    **dict.fromkeys(("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"), 1),
    **dict.fromkeys(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"), 3),
}
_MAX_FRAMES = 1 << 16
"""Of one file: 300 volumes of 200 slices, and fewer than would keep a reader busy."""

_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_EXPORT, _COPY = "export it again", "copy the file again"


@dataclass(frozen=True)
class Layout:
    """The pixels' layout (DICOM PS3.3 C.7.6.3).

    Attributes:
        frames, rows, columns, samples: how many.
        allocated, stored: bits a sample takes, and bits of it that count.
        signed: two's complement.
        photometric: what the samples mean.
        planar: samples lie plane by plane.
    """

    frames: int
    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    signed: bool
    photometric: str
    planar: bool

    @property
    def options(self) -> dict[str, Any]:
        """The layout in pydicom's words, for its decoders."""
        return {
            "number_of_frames": self.frames,
            "rows": self.rows,
            "columns": self.columns,
            "samples_per_pixel": self.samples,
            "bits_allocated": self.allocated,
            "bits_stored": self.stored,
            "pixel_representation": int(self.signed),
            "photometric_interpretation": self.photometric,
            "planar_configuration": int(self.planar),
            "pixel_keyword": "PixelData",
        }

    @property
    def ends(self) -> tuple[int, int]:
        """Lowest and highest value that can be stored."""
        low = -(1 << self.stored - 1) if self.signed else 0
        return low, low + (1 << self.stored) - 1

    @property
    def is_coloured(self) -> bool:
        """In RGB or palette colours, grey as they may be; YBR is turned to RGB."""
        return not self.photometric.startswith("MONOCHROME")

    @property
    def needed(self) -> int:
        """Bytes of all pixels, uncompressed."""
        bits = self.frames * self.rows * self.columns * self.samples * self.allocated
        if self.photometric == "YBR_FULL_422":  # every second pixel has no colour of its own
            bits = bits // 3 * 2
        return -(-bits // 8)


def layout_of(header: Header, max_pixels: int, max_voxels: int) -> Layout:
    """Read and check the layout.

    Args:
        header: of the file; pydicom knows its transfer syntax.
        max_pixels: refuse larger pictures.
        max_voxels: refuse more frames × rows × columns.

    Raises:
        Refusal: a tag is missing or nonsense, bits are kept in an unusual way, there is too much or too little.
    """
    encapsulated = header.syntax.is_encapsulated
    if encapsulated != (header.length is None):
        raise Refusal(Reason.DAMAGED, "pixels that are not as the transfer syntax says", _EXPORT)
    layout = _layout(header.tags)
    if layout.frames > _MAX_FRAMES:
        raise Refusal(Reason.TOO_LARGE, f"{layout.frames} frames are too many", f"export up to {_MAX_FRAMES} a file")
    _refuse_bits(layout, whole(header.tags, "HighBit"), encapsulated)
    if encapsulated:
        _refuse_fragments(header, layout.frames)
    elif min(header.length or 0, header.present) < layout.needed:
        raise Refusal(Reason.TRUNCATED, "fewer pixels than its header says", _COPY)
    refuse_size(layout.rows, layout.columns, max_pixels)
    voxels = layout.frames * layout.rows * layout.columns
    if voxels > max_voxels:
        raise Refusal(Reason.TOO_LARGE, f"{voxels} voxels are too many", f"export it with no more than {max_voxels}")
    return layout


def has_extra_bytes(header: Header, layout: Layout) -> bool:
    """Whether more pixels are there than the header says; one byte makes an odd length even."""
    return header.length is not None and header.length > layout.needed + 1


def _layout(ds: Dataset) -> Layout:
    photometric = text(ds, "PhotometricInterpretation").upper()
    samples = _needed(ds, "SamplesPerPixel")
    if not photometric:
        raise Refusal(Reason.DAMAGED, "no PhotometricInterpretation in its header", _EXPORT)
    if photometric not in _SAMPLES:
        raise Refusal(Reason.COLOUR_IMAGE, "a picture in unusual colours", "export it in grey")
    if samples != _SAMPLES[photometric]:
        raise Refusal(Reason.DAMAGED, f"{samples} samples a pixel, which its colours contradict", _EXPORT)
    return Layout(
        frames=1 if is_empty(ds, "NumberOfFrames") else _needed(ds, "NumberOfFrames") or 1,
        rows=_needed(ds, "Rows"),
        columns=_needed(ds, "Columns"),
        samples=samples,
        allocated=_needed(ds, "BitsAllocated"),
        stored=_needed(ds, "BitsStored"),
        signed=_needed(ds, "PixelRepresentation") == 1,
        photometric=photometric,
        planar=samples > 1 and _needed(ds, "PlanarConfiguration") == 1,
    )


def _needed(ds: Dataset, name: str) -> int:
    value = whole(ds, name)
    if value is None or value < 0:
        raise Refusal(Reason.DAMAGED, f"no usable {name} in its header", _EXPORT)
    return value


def _refuse_bits(layout: Layout, high: int | None, encapsulated: bool) -> None:
    if layout.allocated not in (1, 8, 16, 32) or not 1 <= layout.stored <= layout.allocated:
        raise Refusal(Reason.UNSUPPORTED_CONTENT, f"{layout.stored} of {layout.allocated} bits a sample", _EXPORT)
    if not encapsulated and high is not None and high != layout.stored - 1:
        raise Refusal(Reason.UNSUPPORTED_CONTENT, "bits that are not the lowest ones of their words", _EXPORT)


def _refuse_fragments(header: Header, frames: int) -> None:
    """Walk over the fragments (DICOM PS3.5 A.4), which have to be whole, ended, and enough for the frames."""
    count, end = -1, header.start + header.present  # the first item is the offset table
    with header.open() as stream:
        while True:
            head = stream.read(8)
            if len(head) < 8:
                raise Refusal(Reason.TRUNCATED, "the compressed pixels end early", _COPY)
            tag, length = head[:4], int.from_bytes(head[4:], "little")
            if tag == _END:
                break
            if tag != _ITEM:
                raise Refusal(Reason.DAMAGED, "compressed pixels in disorder", _COPY)
            if stream.tell() + length > end:
                raise Refusal(Reason.TRUNCATED, "the compressed pixels end early", _COPY)
            stream.seek(length, 1)
            count += 1
    if count < frames:
        raise Refusal(Reason.TRUNCATED, "fewer compressed frames than its header says", _COPY)
