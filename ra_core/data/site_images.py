"""One site's images by split, and the lesions that its pixels are measured on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ra_core.data.dataset import ImageSet
from ra_core.data.geometry import Place

__all__ = ["KnownBoxes", "KnownMasks", "SiteImages", "halves"]


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
        """With images to calibrate on: where none are of that split, every second validation patient's, by a hash."""
        if len(self.calibration):
            return self
        val, calibration = halves(self.val)
        return replace(self, val=val, calibration=calibration)

    @cached_property
    def lesions(self) -> KnownMasks:
        """Of the test images; each mask file is read once."""
        return KnownMasks.of(self.test)

    @cached_property
    def boxes(self) -> KnownBoxes:
        """Of the test images."""
        return KnownBoxes.of(self.test)


def halves(images: ImageSet) -> tuple[ImageSet, ImageSet]:
    """Two halves by patient, the first at least as large as the second; the same whoever looks, in whichever order.

    Patients are ordered by SHA-256 over "federated-ra half", a zero byte and their id, and dealt out in turn.
    """
    order = sorted({row.patient_id for row in images.rows}, key=_drawn)
    first = set(order[::2])
    return images.of_patients(first.__contains__), images.of_patients(lambda patient: patient not in first)


def _drawn(patient: str) -> str:
    return hashlib.sha256(b"federated-ra half\0" + patient.encode(errors="surrogateescape")).hexdigest()
