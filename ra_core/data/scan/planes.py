"""Which way a stack was sliced, and whether that matters."""

from __future__ import annotations

import numpy as np

from ra_core.config import Plane
from ra_core.data.readers.source import Facts

__all__ = ["other_plane"]

_PLANES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
"""By the patient axis (left, back, head) that their normal is nearest to."""

_SLICED = frozenset({"CT", "MR", "PT", "NM", "ST", ""})
"""Modalities of slices, and the untold one. A film may state its orientation too, but it shows all planes at once."""


def other_plane(facts: Facts, plane: Plane) -> Plane | None:
    """The plane that a file's pictures lie in, where it is not the one that is asked for.

    None where it is, where the file doesn't say, and where it doesn't matter: a NIfTI volume is sliced in any plane,
    whatever it is stored in, and a radiograph is no slice.
    """
    if facts.kind != "dicom" or facts.normal is None or facts.modality not in _SLICED:
        return None
    own = _PLANES[int(np.argmax(np.abs(facts.normal)))]
    return None if own == plane else own
