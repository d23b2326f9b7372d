"""How files are read: the study's part of it, and the site's limits."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ra_core.config import LimitsConfig, Plane, PreprocessingConfig, WindowName
from ra_core.data.geometry import square_shape
from ra_core.data.readers.refusal import Reason, Refusal, refuse_size

__all__ = ["USUAL", "USUAL_LIMITS", "Reading", "in_range", "refuse_shape"]

USUAL_LIMITS = LimitsConfig()
"""Of a site that sets none."""


@dataclass(frozen=True)
class Reading:
    """What a reader has to know beside the file.

    Attributes:
        plane: plane in which volumes are sliced.
        slices: share of a volume's slices that is used; see `in_range`.
        volume: which volume of a 4-D file, from 0.
        window: the DICOM file's own window, none, or a named one in HU.
        max_pixels: larger pictures are refused from their header.
        max_voxels: larger volumes are refused from their header.
        min_side: pictures with a shorter side, in square pixels, are refused.
    """

    plane: Plane = "axial"
    slices: tuple[float, float] = (0.0, 1.0)
    volume: int = 0
    window: WindowName = "file"
    max_pixels: int = 1 << 26
    max_voxels: int = 1 << 30
    min_side: int = 1

    @classmethod
    def of(cls, preprocessing: PreprocessingConfig, limits: LimitsConfig = USUAL_LIMITS) -> Reading:
        """As a study preprocesses and a site limits."""
        return cls(
            plane=preprocessing.plane,
            slices=preprocessing.slices,
            volume=preprocessing.volume,
            window=preprocessing.window,
            max_pixels=limits.max_pixels,
            max_voxels=limits.max_voxels,
            min_side=limits.min_side,
        )


USUAL = Reading()
"""Axial slices, all of them, as the file is meant to be shown; pictures of any size from one pixel."""


def in_range(count: int, slices: tuple[float, float]) -> range:
    """Which of `count` slices the share means: the first lies at 0, the last at 1.

    Never empty: where the share holds no slice, it is the one nearest to its middle, so (0.5, 0.5) is the middle slice.

    Args:
        count: slices of the volume, at least 1.
        slices: lower and upper end, 0 ≤ lower ≤ upper ≤ 1.
    """
    last = count - 1
    lower, upper = (share * last for share in slices)
    inside = range(math.ceil(lower - 1e-9), math.floor(upper + 1e-9) + 1)
    middle = round((lower + upper) / 2)
    return inside or range(middle, middle + 1)


def refuse_shape(shape: tuple[int, int], spacing: tuple[float, float] | None, reading: Reading) -> None:
    """Refuse a picture that is too small or too large in square pixels: it is resampled to them and padded to a square.

    Args:
        shape: its rows and columns.
        spacing: millimetres between rows and between columns, or None.
        reading: its limits.

    Raises:
        Refusal: it is so.
    """
    rows, columns = square_shape(shape, spacing)
    if min(rows, columns) < reading.min_side:
        hint = f"leave it out, or lower limits.min_side ({reading.min_side}) in the site config"
        raise Refusal(Reason.TOO_SMALL, f"{rows} × {columns} pixels are too few", hint)
    refuse_size(rows, columns, reading.max_pixels)
    if max(rows, columns) ** 2 > 2 * reading.max_pixels:
        raise Refusal(Reason.TOO_LARGE, f"a strip of {rows} × {columns} pixels", "export a picture that is less narrow")
