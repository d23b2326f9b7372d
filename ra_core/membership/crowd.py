"""The patients among whom an attack looks for those that a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ra_core.errors import TooFewImagesError
from ra_core.metrics.inputs import BoolArray, IntArray, encode
from ra_core.models.method import Images

__all__ = ["FEWEST_PATIENTS", "Crowd"]

FEWEST_PATIENTS = 10
"""Of those trained on, and of the others: with fewer an interval says nothing."""


@dataclass(frozen=True)
class Crowd:
    """Images of healthy patients, some of whom a model was trained on.

    Attributes:
        images: N of them.
        patients: N ids.
        trained: (N,), whether the model was trained on the image; the same for all images of a patient.

    Raises:
        TooFewImagesError: fewer than `FEWEST_PATIENTS` of either kind.
    """

    images: Images
    patients: Sequence[str]
    trained: BoolArray

    def __post_init__(self) -> None:
        inside, outside = int(self.in_training.sum()), int((~self.in_training).sum())
        if min(inside, outside) < FEWEST_PATIENTS:
            raise TooFewImagesError(
                f"{inside} patients trained on and {outside} held back: at least {FEWEST_PATIENTS} of each are needed",
                "give healthy patients the splits val and test too; with so few no attack can be judged",
            )

    @property
    def codes(self) -> IntArray:
        """The number of each image's patient, (N,)."""
        return encode(self.patients, len(self.images))[0]

    @property
    def in_training(self) -> BoolArray:
        """Whether each patient was trained on, by number."""
        found = np.zeros(int(self.codes.max(initial=-1)) + 1, bool)
        found[self.codes[self.trained]] = True
        return found
