"""One site's images by split, and the lesions that its pixels are measured on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ra_core.data.dataset import ImageSet
from ra_core.data.geometry import Place
from ra_core.errors import TooFewImagesError

__all__ = ["FEWEST", "KnownBoxes", "KnownMasks", "SiteImages", "halves", "is_kept_back", "sets_thresholds"]

FEWEST = {"train": 8, "val": 4}
"""Fewer healthy images than these can't train or validate anything."""


@dataclass(frozen=True)
class KnownMasks:
    """Lesions of the images that pixels are measured on: those whose lesions, or health, are known.

    Attributes:
        indices: K images of the test set, ascending.
        masks: bool (K, S, S).
        patients: K ids.
    """

    indices: list[int]
    masks: np.ndarray
    patients: list[str]

    @classmethod
    def of(cls, test: ImageSet) -> KnownMasks:
        """All that are known; none if no lesion is."""
        masks = test.masks(range(len(test)))
        known = [index for index, mask in enumerate(masks) if mask is not None]
        if not any(test.rows[index].label == "anomalous" for index in known):
            known = []
        found = [np.asarray(masks[index]) for index in known]
        none = np.zeros((0, test.preprocessing.size, test.preprocessing.size), bool)
        return cls(known, np.stack(found) if found else none, [test.rows[index].patient_id for index in known])


@dataclass(frozen=True)
class KnownBoxes:
    """The images with boxes around their anomalies.

    Attributes:
        indices: K images of the test set, ascending.
        boxes: of each of them, rows and columns of its (S, S) image.
        patients: K ids.
    """

    indices: list[int]
    boxes: list[tuple[Place, ...]]
    patients: list[str]

    @classmethod
    def of(cls, test: ImageSet) -> KnownBoxes:
        """All that have any.

        Raises:
            DataError: as `ImageSet.boxes`.
        """
        indices = [index for index, row in enumerate(test.rows) if row.boxes]
        return cls(indices, test.boxes(indices), [test.rows[index].patient_id for index in indices])


@dataclass(frozen=True)
class SiteImages:
    """One site's images by split: train, val and calibration are healthy, test is healthy and anomalous.

    Attributes:
        site: its id.
        train, val, test: its images.
        calibration: those that choose neither weights nor scoring, so that thresholds can be set on them; empty where
            the site has none of that split.
        declared: files that ought to be images of the site; 0 where nobody counted.
        used: those of them that are.
    """

    site: str
    train: ImageSet
    val: ImageSet
    test: ImageSet
    calibration: ImageSet
    declared: int = 0
    used: int = 0

    def kept_back(self) -> SiteImages:
        """With images to calibrate on: where none are of that split, about half of the validation patients', by a hash.

        Raises:
            TooFewImagesError: no validation patient is left.
        """
        if len(self.calibration):
            return self
        val = self.val.of_patients(lambda patient: not is_kept_back(patient))
        if not len(val):
            raise TooFewImagesError(
                f"site '{self.site}' has no validation patient left: all are drawn to be kept back for calibration",
                "give more healthy patients the split val, or some the split calibration, so that none is drawn",
            )
        return replace(self, val=val, calibration=self.val.of_patients(is_kept_back))

    @cached_property
    def lesions(self) -> KnownMasks:
        """Of the test images; each mask file is read once."""
        return KnownMasks.of(self.test)

    @cached_property
    def boxes(self) -> KnownBoxes:
        """Of the test images."""
        return KnownBoxes.of(self.test)


def halves(images: ImageSet) -> tuple[ImageSet, ImageSet]:
    """The patients who set thresholds, and those who try them: two halves, about as large as each other."""
    return images.of_patients(sets_thresholds), images.of_patients(lambda patient: not sets_thresholds(patient))


def is_kept_back(patient: str) -> bool:
    """Whether a validation patient is kept back for calibration, at a site without that split; so is about half.

    It depends on the patient's id alone, so that who comes or goes moves nobody else, and no model that a patient has
    helped to choose is calibrated on that patient later.
    """
    return _drawn("kept back", patient)


def sets_thresholds(patient: str) -> bool:
    """Whether a calibration patient is of the half that sets thresholds; by the id alone, and of no other draw."""
    return _drawn("half", patient)


def _drawn(what: str, patient: str) -> bool:
    """The first bit of SHA-256 over "federated-ra", what is drawn, a zero byte and the id."""
    words = f"federated-ra {what}\0{patient}".encode(errors="surrogateescape")
    return hashlib.sha256(words).digest()[0] < 128
