"""What shows, beside its score, whether a picture is still like those that a threshold was set on: a few plain numbers.

They are those that `ra-client check` looks at, of the preprocessed image and of its grid, each at least 0, so that the
published edges hold them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ra_core.data.checks.outliers import turned_pictures
from ra_core.data.checks.pictures import unit
from ra_core.data.scan.plain import plain_numbers
from ra_core.data.scan.records import THUMBNAIL

__all__ = ["GROUPS", "ORIENTATION", "SCORE", "mean_picture", "traits", "uprightness"]

SCORE, ORIENTATION = "score", "orientation"

GROUPS = {
    SCORE: "scores",
    "brightness": "intensity",
    "contrast": "intensity",
    "foreground": "intensity",
    "sharpness": "intensity",
    ORIENTATION: "orientation",
    "rows": "size",
    "columns": "size",
    "spacing": "size",
}
"""The check that each number belongs to."""


def traits(image: NDArray[np.float32], shape: tuple[int, int], spacing: tuple[float, float] | None) -> dict[str, float]:
    """Plain numbers of one picture, by their names in `GROUPS`; `uprightness` gives the orientation.

    Args:
        image: preprocessed, float32 (S, S) in [0, 1].
        shape: rows and columns of the picture as it was read.
        spacing: millimetres between rows and between columns of `image`; None where the file doesn't say, and then
            there is no number of that name.
    """
    plain = plain_numbers(image)
    found = {
        "brightness": plain["mean"],
        "contrast": plain["spread"],
        "foreground": plain["foreground"],
        "sharpness": plain["sharpness"],
        "rows": float(shape[0]),
        "columns": float(shape[1]),
    }
    return found if spacing is None else found | {"spacing": float(np.sqrt(spacing[0] * spacing[1]))}


def mean_picture(total: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The picture (T, T) that a sum (T * T,) of `unit` thumbnails shows, its range stretched to that of uint8.

    Only its correlation with others means anything. Of a constant sum it is 0.
    """
    low, high = float(total.min()), float(total.max())
    stretched = (total - low) / (high - low) if high > low else np.zeros_like(total)
    return np.asarray(np.rint(255 * stretched).astype(np.uint8).reshape(THUMBNAIL, THUMBNAIL))


def uprightness(small: NDArray[np.uint8], usual: NDArray[np.uint8]) -> float:
    """How much more a thumbnail (T, T) is like the usual one as it lies than turned or flipped; in [0, 2], 1 is equal.

    That is 1 + (r - t) / 2 with r its correlation with the usual one, and t the highest with that one laid wrongly in
    seven ways. An inverted picture is turned rather than upright, too.
    """
    own, upright = unit(np.stack([small.ravel(), usual.ravel()]))
    likeness = turned_pictures(upright) @ own
    return float(np.clip(1 + (own @ upright - likeness.max()) / 2, 0, 2))
