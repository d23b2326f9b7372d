"""Frames decoded one by one; compressed ones are checked first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import RLELossless

from ra_core.data.readers.dicom.apart import decode_apart
from ra_core.data.readers.dicom.codestream import Codestream, codestream, is_whole
from ra_core.data.readers.dicom.decoders import plugin_for
from ra_core.data.readers.dicom.header import Header
from ra_core.data.readers.dicom.layout import Layout
from ra_core.data.readers.dicom.values import value
from ra_core.data.readers.refusal import Reason, Refusal

__all__ = ["decode"]

_HERE = frozenset(("pydicom", "pillow"))
"""Plugins that run in this process: one is no compiled code, and the other reads raster pictures here too."""


def decode(header: Header, layout: Layout, decoder: Decoder, frame: int) -> NDArray[np.integer]:
    """Stored values of one frame, (H, W) or (H, W, 3) in RGB; unused bits are cleared and signs extended.

    Raises:
        Refusal: a compressed frame of another size than the header says, or without its end, or of a kind that no
            decoder here reads.
    """
    options: dict[str, Any] = layout.options | {"pixel_vr": header.vr}
    with header.open() as stream:
        if header.length is not None:
            return decoder.as_array(stream, index=frame, **options)[0]
        data = get_frame(stream, frame, number_of_frames=layout.frames, extended_offsets=_offsets(header))
    precision = layout.stored
    if header.syntax != RLELossless:
        found = _checked(data, layout)
        precision, data = found.precision, data[found.start :]  # no decoder sees boxes, which may hold palettes
    options |= {"number_of_frames": 1, "decoding_plugin": plugin_for(decoder, precision)}
    if options["decoding_plugin"] in _HERE:
        return decoder.as_array(encapsulate([data]), index=0, **options)[0]
    return decode_apart(header.syntax, options, data)


def _offsets(header: Header) -> tuple[bytes, bytes] | None:
    starts, lengths = (value(header.tags, f"ExtendedOffsetTable{part}") for part in ("", "Lengths"))
    return (starts, lengths) if isinstance(starts, bytes) and isinstance(lengths, bytes) else None


def _checked(data: bytes, layout: Layout) -> Codestream:
    found = codestream(data)
    if found is None:
        raise Refusal(Reason.DAMAGED, "a compressed frame without a header", "export it again")
    if (found.rows, found.columns, found.samples) != (layout.rows, layout.columns, layout.samples):
        raise Refusal(Reason.DAMAGED, "a compressed frame of another size than the header says", "export it again")
    if not is_whole(data):
        raise Refusal(Reason.TRUNCATED, "a compressed frame that ends early", "copy the file again")
    return found
