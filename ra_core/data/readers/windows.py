"""Named CT windows in Hounsfield units."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ra_core.config import WindowName

__all__ = ["WINDOWS", "clip_to"]

WINDOWS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "brain": (40.0, 80.0),
        "subdural": (75.0, 215.0),
        "stroke": (40.0, 40.0),
        "mediastinum": (50.0, 350.0),
        "lung": (-600.0, 1500.0),
        "bone": (480.0, 2500.0),
    }
)
"""Centre and width, in HU: as in "Windowing (CT)" on radiopaedia.org or within its range; bone as viewers have it."""


def clip_to(values: NDArray[np.float64], name: WindowName) -> NDArray[np.float64]:
    """Values clipped to centre ± width / 2 of a named window; unchanged where the name stands for none in HU.

    A window only clips, since preprocessing undoes its ramp.

    Args:
        values: in HU, any shape.
        name: of the window.
    """
    if name not in WINDOWS:
        return values
    centre, width = WINDOWS[name]
    return values.clip(centre - width / 2, centre + width / 2)
