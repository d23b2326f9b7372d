"""What a consortium's images usually look like, as aggregate numbers: a site compares its own with it.

A profile holds medians, spreads and one coarse mean picture of at least `FEWEST_PATIENTS` healthy patients, rounded.
Each patient weighs as one, however many images there are of one; each site as many patients as it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from ra_core.data.checks.pictures import STATISTICS, Pictures
from ra_core.data.scan.records import THUMBNAIL
from ra_core.errors import ConfigError, TooFewImagesError
from ra_core.files import LARGE, read_bounded, write_atomically
from ra_core.settings import Config, first_problem

__all__ = ["Profile", "Usual", "usual_of", "weighted_median"]

FEWEST_PATIENTS = 20
"""Behind a profile: fewer would make a mean picture of few people."""

FLOORS = {"mean": 0.01, "spread": 0.01, "foreground": 0.01, "sharpness": 0.002, "aspect": 0.1}
"""Least spread of each statistic: where all films have one shape, another shape is not yet far off."""


class Usual(Config):
    """What is usual of one statistic."""

    median: float
    spread: float = Field(gt=0, description="1.4826 × median absolute deviation, at least its floor")

    @classmethod
    def of(cls, values: NDArray[np.float64], weights: NDArray[np.float64], floor: float) -> Usual:
        """Of N >= 1 values (N,) with positive weights (N,)."""
        median = weighted_median(values, weights)
        return cls(median=median, spread=max(1.4826 * weighted_median(np.abs(values - median), weights), floor))

    @classmethod
    def merged(cls, several: Sequence[Usual], weights: NDArray[np.float64]) -> Usual:
        """Of sites with weights (N,) that add up to 1: the spread is that within them and that between them.

        As the variance of a mixture, with medians for means and spreads for deviations.
        """
        medians = np.array([usual.median for usual in several])
        spreads = np.array([usual.spread for usual in several])
        median = float(weights @ medians)
        return cls(median=median, spread=float(np.sqrt(weights @ (spreads**2 + (medians - median) ** 2))))

    def distance(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """How many spreads each value (N,) is above the median, below it where negative."""
        return np.asarray((values - self.median) / self.spread)


class Profile(Config):
    """Aggregate statistics of healthy images of one anatomy and modality."""

    format: Literal[1] = 1
    anatomy: str
    modality: str
    preprocessing: str = Field(description="digest of the preprocessing that the images went through")
    images: int = Field(ge=FEWEST_PATIENTS)
    patients: int = Field(ge=FEWEST_PATIENTS)
    statistics: dict[str, Usual]
    mean_picture: tuple[tuple[float, ...], ...] = Field(description="mean thumbnail in [0, 1], two decimals")

    @model_validator(mode="after")
    def _complete(self) -> Profile:
        if tuple(self.statistics) != STATISTICS:
            raise ValueError(f"statistics are not {', '.join(STATISTICS)}")
        if [len(row) for row in self.mean_picture] != [THUMBNAIL] * THUMBNAIL:
            raise ValueError(f"mean_picture is not {THUMBNAIL} × {THUMBNAIL}")
        return self

    @classmethod
    def of(cls, pictures: Pictures, anatomy: str, modality: str, preprocessing: str) -> Profile:
        """Of a site's healthy pictures.

        Raises:
            TooFewImagesError: they are of fewer than `FEWEST_PATIENTS` patients.
        """
        chosen = pictures.healthy
        patients = len(set(pictures.patients[chosen]))
        if patients < FEWEST_PATIENTS:
            raise TooFewImagesError(
                f"{patients} healthy patients are too few for a profile: it would tell of single ones",
                f"a profile needs {FEWEST_PATIENTS} healthy patients",
            )
        mean = pictures.weights(chosen) @ pictures.thumbnails[chosen] / 255
        return cls(
            anatomy=anatomy,
            modality=modality,
            preprocessing=preprocessing,
            images=len(chosen),
            patients=patients,
            statistics={name: _rounded(usual) for name, usual in usual_of(pictures, chosen).items()},
            mean_picture=_rows(mean),
        )

    @classmethod
    def merged(cls, profiles: Sequence[Profile]) -> Profile:
        """One of several sites' profiles, each weighing as its patients do.

        Args:
            profiles: at least one.

        Raises:
            ConfigError: they are of several anatomies, modalities or ways of preprocessing.
        """
        for name in ("anatomy", "modality", "preprocessing"):
            if len({getattr(profile, name) for profile in profiles}) > 1:
                raise ConfigError(f"the profiles differ in {name}", "give those of one consortium and one study")
        first, patients = profiles[0], np.array([profile.patients for profile in profiles], np.float64)
        weights = patients / patients.sum()
        pictures = np.array([profile.mean_picture for profile in profiles]).reshape(len(profiles), -1)
        return cls(
            anatomy=first.anatomy,
            modality=first.modality,
            preprocessing=first.preprocessing,
            images=sum(profile.images for profile in profiles),
            patients=sum(profile.patients for profile in profiles),
            statistics={n: _rounded(Usual.merged([p.statistics[n] for p in profiles], weights)) for n in STATISTICS},
            mean_picture=_rows(weights @ pictures),
        )

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Read a profile.

        Raises:
            ConfigError: it can't be read, or is none.
        """
        try:
            return cls.model_validate_json(read_bounded(path, LARGE))
        except OSError as error:
            reason = f"can't be read ({type(error).__name__})"
        except ValidationError as error:
            reason = first_problem(error, "profile")
        raise ConfigError(f"{path}: {reason}", "`ra-client check --write-profile` makes one")

    def save(self, path: Path) -> None:
        """Write it, atomically.

        Raises:
            OSError: the disk is full or the folder can't be written.
        """
        write_atomically(path, (self.model_dump_json(indent=2) + "\n").encode())


def usual_of(pictures: Pictures, chosen: NDArray[np.intp]) -> dict[str, Usual]:
    """What is usual of some pictures, at least one: by name, in the order of `STATISTICS`."""
    weights = pictures.weights(chosen)
    return {name: Usual.of(values, weights, FLOORS[name]) for name, values in pictures.numbers(chosen).items()}


def weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """The middle between the two values that have half of the weight on either side; they may be one.

    Args:
        values: (N,), N >= 1.
        weights: (N,), positive.
    """
    order = np.argsort(values, kind="stable")
    upto = np.cumsum(weights[order])
    half = upto[-1] / 2
    slack = 1e-9 * upto[-1]  # sums of equal shares are not exact
    low, high = np.searchsorted(upto, [half - slack, half + slack])
    return float((values[order[low]] + values[order[high]]) / 2)


def _rows(picture: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(v) for v in row) for row in picture.reshape(THUMBNAIL, THUMBNAIL).round(2))


def _rounded(usual: Usual) -> Usual:
    return Usual(median=round(usual.median, 4), spread=round(usual.spread, 4))
