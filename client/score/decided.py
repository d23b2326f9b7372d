"""A decision in words: the same in overlays and DICOM series; NIfTI maps have 80 bytes, and the decision alone."""

from __future__ import annotations

from ra_core.model import Result

__all__ = ["decided"]


def decided(result: Result, short: bool = False) -> str:
    """The decision with what it rests on, or why there is none; short, the decision alone, or nothing.

    It names the site, and no patient and no file.
    """
    if result.threshold is None:
        return "" if short else result.decision_note
    verdict = f"{'above' if result.decision else 'not above'} the threshold of {result.threshold:.4g}"
    return verdict if short else f"{verdict}: {result.decision_note}"
