"""Whether a DICOM header contradicts what the site says that its images show."""

from __future__ import annotations

import re

__all__ = ["anatomy_of", "same_anatomy", "same_modality"]

ANATOMIES: dict[str, frozenset[str]] = {
    "brain": frozenset({"BRAIN", "HEAD", "SKULL", "CEREBRUM", "CRANIUM", "NEURO", "NEUROCRANIUM"}),
    "chest": frozenset({"CHEST", "THORAX", "LUNG", "LUNGS", "RIB", "RIBS", "STERNUM", "HEART"}),
    "breast": frozenset({"BREAST", "BREASTS", "MAMMO"}),
    "abdomen": frozenset({"ABDOMEN", "LIVER", "KIDNEY", "KIDNEYS", "PANCREAS", "SPLEEN"}),
    "pelvis": frozenset({"PELVIS", "HIP", "HIPS", "PROSTATE", "BLADDER", "SACRUM"}),
    "spine": frozenset({"SPINE", "CSPINE", "TSPINE", "LSPINE", "SSPINE"}),
    "hand": frozenset({"HAND", "HANDS", "WRIST", "FINGER", "FINGERS", "THUMB", "FOREARM"}),
    "arm": frozenset({"ARM", "ELBOW", "HUMERUS", "SHOULDER", "CLAVICLE", "SCAPULA"}),
    "leg": frozenset({"LEG", "KNEE", "FEMUR", "TIBIA", "THIGH", "CALF"}),
    "foot": frozenset({"FOOT", "FEET", "ANKLE", "TOE", "TOES", "CALCANEUS", "HEEL"}),
}
"""Words that BodyPartExamined, free text in practice, uses for what a site config may name."""

_PROJECTION = frozenset({"CR", "DX", "RG", "XR", "DR", "RF"})
"""Radiographs: the code tells the age of the detector, not what the picture shows."""

_UNTOLD = frozenset({"", "OT", "SC"})


def anatomy_of(text: str) -> set[str]:
    """Anatomies that a text names; empty where it names none that is known."""
    words = set(re.split(r"[^A-Z]+", text.upper()))
    return {anatomy for anatomy, names in ANATOMIES.items() if names & words}


def same_anatomy(body_part: str, anatomy: str) -> bool:
    """Whether a header's body part may be the site's anatomy: it may unless both are known and differ."""
    told, wanted = anatomy_of(body_part), anatomy_of(anatomy)
    return not told or not wanted or bool(told & wanted)


def same_modality(modality: str, wanted: str) -> bool:
    """Whether a header's modality may be the site's: radiographs are one family, and OT (other) says nothing."""
    told, asked = modality.upper(), wanted.upper()
    return told == asked or bool(_UNTOLD & {told, asked}) or {told, asked} <= _PROJECTION
