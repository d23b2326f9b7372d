"""One file, read to its last byte, becomes one entry of a scan, whatever it holds."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ra_core.config import PreprocessingConfig
from ra_core.data.image import prepare
from ra_core.data.readers import Reading, open_source, pictures
from ra_core.data.readers.refusal import Reason, Refusal
from ra_core.data.readers.source import Facts, Note, RawImage, Source
from ra_core.data.scan.fit import refuse_unfit
from ra_core.data.scan.looks import Looks
from ra_core.data.scan.patients import header_patient, patient_of
from ra_core.data.scan.plain import plain_numbers, thumbnail
from ra_core.data.scan.records import Entry, Picture, Pixels
from ra_core.data.scan.rules import ScanRules
from ra_core.errors import DataError

__all__ = ["look"]


def look(root: Path, path: str, rules: ScanRules, preprocessing: PreprocessingConfig, looks: Looks) -> Entry:
    """Read one file's header and decode its pictures, one at a time. Never raises.

    Args:
        root: the data root.
        path: relative to it.
        rules: what the site asks.
        preprocessing: of the study; its share of slices is what is decoded.
        looks: what earlier scans saw; a file that didn't change since is not decoded again.
    """
    facts = None
    try:
        source = open_source(root / path, Reading.of(preprocessing, rules.limits))
        facts = source.facts
        refuse_unfit(facts, rules)
        pixels = looks.of(root / path, lambda: _pixels(source, preprocessing))
    except DataError as error:
        why = error.message.removeprefix(f"{root / path}: ")
        return _aside(path, Reason(error.code or Reason.DAMAGED), why, error.hint, facts, rules)
    except Refusal as refusal:
        return _aside(path, refusal.code, refusal.reason, refusal.hint, facts, rules)
    except Exception as error:  # a library's, or out of memory: one file is never the end of a scan
        return _aside(path, Reason.DAMAGED, f"not readable ({type(error).__name__})", "export it again", facts, rules)
    return Entry(
        path,
        None,
        facts=facts,
        pictures=pixels.pictures,
        skipped=pixels.skipped,
        notes=_notes(facts, pixels.notes),
        patient=patient_of(path, facts, rules.patient),
    )


def _aside(path: str, reason: Reason, why: str, hint: str, facts: Facts | None, rules: ScanRules) -> Entry:
    message = f"{why}; {hint}" if hint else why
    patient = patient_of(path, facts, rules.patient) if facts else ""
    return Entry(path, reason, message, facts, notes=_notes(facts, ()) if facts else (), patient=patient)


def _pixels(source: Source, preprocessing: PreprocessingConfig) -> Pixels:
    found: list[Picture] = []
    skipped: Counter[Reason] = Counter()
    notes: dict[Note, None] = {}
    for frame, raw in pictures(source, Reading.of(preprocessing)):
        if raw is None:
            skipped[Reason.EMPTY_SLICE] += 1
            continue
        found.append(_picture(frame, raw, preprocessing))
        notes |= dict.fromkeys(raw.notes)
    if not found:
        raise Refusal(Reason.CONSTANT_IMAGE, "no picture with more than one value", "export it again")
    return Pixels(tuple(found), tuple(sorted(skipped.items())), tuple(notes))


def _picture(frame: int, raw: RawImage, preprocessing: PreprocessingConfig) -> Picture:
    from ra_core.data.scan.text import text_share  # noqa: PLC0415 - files that were seen before need no scipy

    image = prepare(raw, preprocessing).pixels[0]
    return Picture(
        frame=frame,
        digest=_digest(raw.pixels),
        thumbnail=thumbnail(image),
        text=text_share(raw.pixels),
        **plain_numbers(image),
    )


def _digest(pixels: NDArray[np.float32]) -> str:
    content = hashlib.sha256(repr(pixels.shape).encode())
    content.update((pixels + np.float32(0)).astype("<f4").tobytes())  # -0 and 0 are one
    return content.hexdigest()


def _notes(facts: Facts, more: tuple[Note, ...]) -> tuple[Note, ...]:
    unknown = (Note.NO_PATIENT_ID,) if facts.kind == "dicom" and not header_patient(facts) else ()
    return tuple(dict.fromkeys((*facts.notes, *more, *unknown)))
