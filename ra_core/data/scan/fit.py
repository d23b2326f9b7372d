"""Whether a file's header contradicts what is asked for, before anything is decoded."""

from __future__ import annotations

from ra_core.data.readers.refusal import Reason, Refusal
from ra_core.data.readers.source import Facts
from ra_core.data.scan.anatomy import same_anatomy, same_modality
from ra_core.data.scan.rules import ScanRules

__all__ = ["refuse_unfit"]


def refuse_unfit(facts: Facts, rules: ScanRules) -> None:
    """Refuse what the header says to be of another kind.

    Raises:
        Refusal: another modality or body part, or text that is burned in.
    """
    if not same_modality(facts.modality, rules.modality):
        raise Refusal(Reason.WRONG_MODALITY, "its header names another modality", "")
    if not same_anatomy(facts.body_part, rules.anatomy):
        raise Refusal(Reason.WRONG_BODY_PART, "its header names another body part", "")
    if facts.burned_in and not rules.limits.burned_in:
        hint = "export it without text, or allow it with limits.burned_in"
        raise Refusal(Reason.BURNED_IN_ANNOTATION, "its header says that text is burned into the pixels", hint)
