"""DICOM through pydicom: decided by SOP class, checked from the header, decoded frame by frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.pixels.decoders.base import Decoder

from ra_core.config import WindowName
from ra_core.data.readers.dicom.decoders import decoder_for
from ra_core.data.readers.dicom.geometry import Stack, spacing_of, stack_of
from ra_core.data.readers.dicom.header import Header, read_header
from ra_core.data.readers.dicom.layout import Layout, has_extra_bytes, layout_of
from ra_core.data.readers.dicom.modality import Transform, transform_of
from ra_core.data.readers.dicom.objects import is_secondary_capture
from ra_core.data.readers.dicom.picture import picture_of, refuse_window
from ra_core.data.readers.dicom.upright import turn_of
from ra_core.data.readers.dicom.values import text
from ra_core.data.readers.reading import Reading, refuse_shape
from ra_core.data.readers.source import Facts, Note, RawImage, Source
from ra_core.data.readers.turn import upright

__all__ = ["open_dicom"]


def open_dicom(path: Path, reading: Reading) -> Source:
    """Read and check a file's header.

    Args:
        path: the file; neither its name nor a missing preamble matters.
        reading: `volume`, of a file with several; `window`; limits. Pictures stay in the plane they were acquired in.

    Raises:
        Refusal: the file is no image, is damaged, is larger than the limits, or can't be read here.
    """
    header = read_header(path)
    decoder = decoder_for(header.syntax)
    layout = layout_of(header, reading.max_pixels, reading.max_voxels)
    if layout.frames > 1:  # before anything is done for each of them
        refuse_shape((layout.rows, layout.columns), spacing_of(header.tags, 0), reading)
    stack = stack_of(header.tags, layout.frames, reading.volume)
    transform = transform_of(header.tags, stack.order[0], layout.signed)
    refuse_window(layout, transform, reading.window)
    return _DicomSource(header, layout, decoder, stack, _facts(header, layout, stack, transform), reading.window)


class _DicomSource:
    def __init__(
        self, header: Header, layout: Layout, decoder: Decoder, stack: Stack, facts: Facts, window: WindowName
    ) -> None:
        self._header, self._layout, self._decoder, self._window = header, layout, decoder, window
        self._order = stack.order
        self.facts = facts

    def picture(self, index: int) -> RawImage:
        turn, frame = self.facts.turn, self._order[index]
        raw = picture_of(self._header, self._layout, self._decoder, frame, self._window)
        pixels = np.ascontiguousarray(upright(raw.pixels, turn))
        return replace(raw, pixels=pixels, spacing=turn.pair(raw.spacing), turn=turn)


def _facts(header: Header, layout: Layout, stack: Stack, transform: Transform) -> Facts:
    ds = header.tags
    turn = turn_of(ds, stack.directions)
    return Facts(
        kind="dicom",
        frames=len(stack.order),
        shape=turn.pair((layout.rows, layout.columns)),
        spacing=turn.pair(spacing_of(ds, stack.order[0])),
        bits=layout.stored,
        modality=text(ds, "Modality").upper(),
        body_part=text(ds, "BodyPartExamined").upper(),
        positions=stack.positions,
        patient=text(ds, "PatientID"),
        study=text(ds, "StudyInstanceUID"),
        series=text(ds, "SeriesInstanceUID"),
        instance=text(ds, "SOPInstanceUID"),
        normal=stack.normal,
        origins=stack.origins,
        tilted=stack.is_tilted,
        burned_in=text(ds, "BurnedInAnnotation").upper() == "YES",
        turn=turn,
        notes=_notes(header, layout, stack, transform),
    )


def _notes(header: Header, layout: Layout, stack: Stack, transform: Transform) -> tuple[Note, ...]:
    ds = header.tags
    found = {
        Note.NOT_IN_HOUNSFIELD: text(ds, "Modality").upper() == "CT" and not transform.hounsfield,
        Note.RESCALE_INCOMPLETE: transform.incomplete,
        Note.CONTRADICTING_POLARITY: layout.photometric == "MONOCHROME2"
        and text(ds, "PresentationLUTShape").upper() == "INVERSE",
        Note.NO_PATIENT_ID: not text(ds, "PatientID"),
        Note.SECONDARY_CAPTURE: is_secondary_capture(ds, header.sop_class),
        Note.EXTRA_BYTES: has_extra_bytes(header, layout),
    }
    return (*header.notes, *stack.notes, *(note for note, is_so in found.items() if is_so))
