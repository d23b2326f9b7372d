"""A site's healthy images under one scoring: their scores, their maps, and what they look like."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from ra_core.calibration.traits import ORIENTATION, SCORE, mean_picture, traits, uprightness
from ra_core.calibration.watching import Tallies
from ra_core.data import ImageSet
from ra_core.data.checks.pictures import unit
from ra_core.data.geometry import Geometry
from ra_core.data.scan.plain import thumbnail
from ra_core.scoring import ScoringConfig, image_scores
from ra_core.site_scorer import SiteScorer, batches
from ra_core.thresholds import Histogram, Promise, Unit, patient_scores, pixel_threshold

__all__ = ["Measured", "mean_traits", "measure"]

MAPS = 8
"""Pictures of a patient whose pixels count, drawn by a hash of their names: memory is bounded by patients."""


@dataclass(frozen=True)
class Measured:
    """N pictures of healthy patients under one scoring.

    Attributes:
        scores: (N,).
        patients: N ids.
        names: N names that stay the same, by which pictures are drawn.
        small: thumbnails, uint8 (N, T, T).
        plain: `traits` of each.
        maps: anomaly maps (S, S) of some, by number.
    """

    scores: NDArray[np.float64]
    patients: Sequence[str] = field(repr=False)
    names: Sequence[str] = field(repr=False)
    small: NDArray[np.uint8] = field(repr=False)
    plain: Sequence[Mapping[str, float]] = field(repr=False)
    maps: Mapping[int, NDArray[np.float32]] = field(repr=False)

    def of(self, patients: Collection[str]) -> Measured:
        """Those of some patients."""
        keep = [patient in patients for patient in self.patients]
        places = {place: new for new, place in enumerate(compress(range(len(keep)), keep))}
        return Measured(
            scores=self.scores[keep],
            patients=list(compress(self.patients, keep)),
            names=list(compress(self.names, keep)),
            small=self.small[keep],
            plain=list(compress(self.plain, keep)),
            maps={places[place]: found for place, found in self.maps.items() if place in places},
        )

    def by_patient(self, of: Unit) -> NDArray[np.float64]:
        """One score a patient, (K,)."""
        return patient_scores(self.scores, self.patients, self.names, of)

    def pixel_threshold(self, rate: float) -> Promise:
        """Of the maps that were kept; see `thresholds.pixel_threshold`."""
        return pixel_threshold(list(self.maps.values()), [self.patients[place] for place in self.maps], rate)

    @property
    def pictures(self) -> tuple[int, int]:
        """Of a patient, the fewest and the most."""
        counts = np.bincount(self._patient)
        return int(counts.min()), int(counts.max())

    @property
    def mean_picture(self) -> NDArray[np.uint8]:
        """Of all, each patient weighing the same."""
        return mean_picture(self._means.sum(axis=0))

    def tallies(self) -> Tallies:
        """Histograms of one value a patient, each laid against the mean picture of the others."""
        total = self._means.sum(axis=0)
        others = [mean_picture(total - own) for own in self._means]
        numbers = [
            {**plain, ORIENTATION: uprightness(small, others[patient])}
            for plain, small, patient in zip(self.plain, self.small, self._patient, strict=True)
        ]
        drawn = patient_scores(range(len(self.scores)), self.patients, self.names, "slice").astype(int)
        studies = [[numbers[place] for place in np.flatnonzero(self._patient == one)] for one in range(len(drawn))]
        alone = _histograms([numbers[place] for place in drawn], self.by_patient("slice"))
        together = _histograms([mean_traits(pictures) for pictures in studies], self.by_patient("study"))
        return Tallies(slice=alone, study=together)

    @cached_property
    def _patient(self) -> NDArray[np.intp]:
        """Number of each picture's patient, in the order of their ids."""
        return np.unique(np.array(self.patients, object), return_inverse=True)[1]

    @cached_property
    def _means(self) -> NDArray[np.float64]:
        """Mean `unit` thumbnail of each patient, (K, T * T)."""
        found = unit(self.small.reshape(len(self.small), -1)).astype(np.float64)
        return np.stack([found[self._patient == one].mean(axis=0) for one in range(self._patient.max() + 1)])


def measure(
    site: SiteScorer,
    scoring: ScoringConfig,
    images: ImageSet,
    batch_size: int,
    progress: Callable[[int], None] = lambda _: None,
    mapped: Callable[[str], bool] = lambda _: True,
) -> Measured:
    """Score a site's healthy images and note their plain numbers.

    Args:
        site: a method ready for the site.
        scoring: one of its scorings.
        images: of healthy patients, at least one.
        batch_size: images scored at a time.
        progress: told how many are done.
        mapped: of which patients maps are kept.

    Raises:
        DataError: a file can't be read.
    """
    scorer = site.only([scoring.name])
    patients = [row.patient_id for row in images.rows]
    kept, grids = _drawn(patients, images.names, mapped), images.grids()
    scores, small, plain, maps = list[float](), list[NDArray[np.uint8]](), list[dict[str, float]](), {}
    for x in batches(images, batch_size):
        found = scorer.maps(x)[scoring.name]
        for score, heat, image in zip(image_scores(found, scoring), found[:, 0].numpy(), x[:, 0].numpy(), strict=True):
            shape, spacing = next(grids)
            if len(scores) in kept:
                maps[len(scores)] = heat.copy()
            scores.append(float(score))
            small.append(thumbnail(image))
            plain.append(traits(image, shape, Geometry.of(shape, spacing, len(image)).spacing(spacing)))
        progress(len(scores))
    return Measured(np.array(scores), patients, images.names, np.stack(small), plain, maps)


def mean_traits(pictures: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Of the pictures of one study, those numbers that all of them have."""
    found = list(pictures)
    names = [name for name in found[0] if all(name in one for one in found)]
    return {name: float(np.mean([one[name] for one in found])) for name in names}


def _drawn(patients: Sequence[str], names: Sequence[str], mapped: Callable[[str], bool]) -> set[int]:
    """Up to `MAPS` pictures of each patient whose maps are kept."""
    digests = [hashlib.sha256(name.encode(errors="surrogateescape")).digest() for name in names]
    kept, counts = set[int](), {patient: 0 if mapped(patient) else MAPS for patient in patients}
    for place in sorted(range(len(names)), key=digests.__getitem__):
        if counts[patients[place]] < MAPS:
            counts[patients[place]] += 1
            kept.add(place)
    return kept


def _histograms(
    values: Sequence[Mapping[str, float]], scores: NDArray[np.float64]
) -> dict[str, tuple[tuple[int, int, int], ...]]:
    """Of one value a patient, by name, and of their scores."""
    names = dict.fromkeys(name for one in values for name in one)
    found = {name: Histogram.of([one[name] for one in values if name in one]) for name in names}
    return {name: histogram.cells for name, histogram in ({SCORE: Histogram.of(scores)} | found).items()}
