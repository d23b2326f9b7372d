"""Which test images are measured together: all of them, those of one finding, those with lesions of one size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ra_core.data import KnownBoxes, KnownMasks, Row, SiteImages
from ra_core.metrics.inputs import BoolArray, FloatArray, IntArray
from ra_core.shortcuts import foreground
from ra_core.site_scorer import batches

__all__ = ["SMALLEST_GROUP", "Cases", "findings", "groups"]

SMALLEST_GROUP = 10
"""A group with fewer anomalous images gets no rows of its own."""

SMALL, MEDIUM = 0.01, 0.04
"""Largest share of the foreground that a small lesion, a medium lesion covers."""


@dataclass(frozen=True)
class Cases:
    """A site's test images as they are measured.

    Attributes:
        rows: N images.
        lesions: of the K among them whose lesions, or health, are known.
        groups: by name, bool (N,): anomalous images that get rows of their own.
        boxes: of the images among them that have any.
    """

    rows: Sequence[Row]
    lesions: KnownMasks
    groups: Mapping[str, BoolArray]
    boxes: KnownBoxes = field(default_factory=lambda: KnownBoxes([], [], []))

    @classmethod
    def of(cls, images: SiteImages, batch_size: int) -> Cases:
        """Reads all test images with known lesions once, `batch_size` at a time."""
        lesions = images.lesions
        seen = [foreground(x).sum((1, 2, 3)).numpy() for x in batches(images.test, batch_size, lesions.indices)]
        shares = lesions.masks.sum((1, 2)) / np.maximum(np.concatenate([np.zeros(0), *seen]), 1)
        return cls(images.test.rows, lesions, groups(images.test.rows, lesions.indices, shares), images.boxes)

    @cached_property
    def mapped(self) -> list[int]:
        """Images whose maps are measured by pixel, ascending: M of them, with known lesions or boxes."""
        return sorted({*self.lesions.indices, *self.boxes.indices})

    def of_batch(self, start: int, size: int) -> list[int]:
        """Places of mapped images in a batch of `size` images that begins at image `start`."""
        return [index - start for index in self.mapped if start <= index < start + size]

    @cached_property
    def with_lesions(self) -> IntArray | slice:
        """Places among the mapped images of those whose lesions, or health, are known: all, where none has boxes."""
        if not self.boxes.indices:
            return slice(None)  # a view: maps of all images are large
        return np.searchsorted(self.mapped, self.lesions.indices)

    @cached_property
    def with_boxes(self) -> IntArray:
        """Places among the mapped images of those with boxes."""
        return np.searchsorted(self.mapped, self.boxes.indices)

    @cached_property
    def anomalous(self) -> BoolArray:
        """Bool (N,)."""
        return _anomalous(self.rows)

    @cached_property
    def patients(self) -> list[str]:
        """N ids."""
        return [row.patient_id for row in self.rows]

    @cached_property
    def pixel_groups(self) -> dict[str, BoolArray]:
        """By name, bool (K,): images of a group that is large enough among the known ones, and all healthy ones."""
        known = {name: images[self.lesions.indices] for name, images in self.groups.items()}
        healthy = ~self.anomalous[self.lesions.indices]
        return {name: images | healthy for name, images in known.items() if images.sum() >= SMALLEST_GROUP}

    @cached_property
    def box_groups(self) -> dict[str, BoolArray]:
        """By name, those of the images with boxes that belong to a group that is large enough among them."""
        boxed = {name: images[self.boxes.indices] for name, images in self.groups.items()}
        return {name: images for name, images in boxed.items() if images.sum() >= SMALLEST_GROUP}


def groups(rows: Sequence[Row], known: Sequence[int], shares: FloatArray) -> dict[str, BoolArray]:
    """Groups of at least `SMALLEST_GROUP` anomalous images by name, each bool (N,), findings first.

    A single finding is left out: it would say what "all" says.

    Args:
        rows: N test images.
        known: K of their indices, those whose lesions are known.
        shares: (K,), area of the lesions as a share of the image's foreground; 0 where no lesion shows.
    """
    sick = _anomalous(rows)
    named = [findings(row.pathology) for row in rows]
    distinct = sorted({name for names, is_sick in zip(named, sick, strict=True) if is_sick for name in names})
    found = {name: sick & np.array([name in names for names in named]) for name in distinct if len(distinct) > 1}
    share = np.zeros(len(rows))
    share[list(known)] = shares
    found |= {
        "size: small": (share > 0) & (share < SMALL),
        "size: medium": (share >= SMALL) & (share <= MEDIUM),
        "size: large": share > MEDIUM,
    }
    return {name: images for name, images in found.items() if images.sum() >= SMALLEST_GROUP}


def findings(pathology: str) -> list[str]:
    """A manifest's pathology split at commas and semicolons outside parentheses, sorted, each once.

    >>> findings("strong, bright"), findings("glioma (axial, FLAIR)"), findings("")
    (['bright', 'strong'], ['glioma (axial, FLAIR)'], [])
    """
    parts, depth = [""], 0
    for character in pathology:
        depth = max(depth + (character == "(") - (character == ")"), 0)
        if character in ",;" and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return sorted({part.strip() for part in parts} - {""})


def _anomalous(rows: Sequence[Row]) -> BoolArray:
    return np.array([row.label == "anomalous" for row in rows], bool)
