"""What a consortium's images usually look like, as aggregate numbers: a site compares its own with it.

A profile holds medians, spreads and one coarse mean picture of at least `FEWEST_PATIENTS` healthy patients; no number
in it is of one image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from ra_core.data.checks.pictures import STATISTICS, Pictures
from ra_core.data.scan.records import THUMBNAIL
from ra_core.errors import ConfigError, TooFewImagesError
from ra_core.settings import Config
from ra_core.storage import write_atomically

__all__ = ["FEWEST_PATIENTS", "FLOORS", "Profile", "Usual"]

FEWEST_PATIENTS = 20
"""Behind a profile: fewer would make a mean picture of few people."""

FLOORS = {"mean": 0.01, "spread": 0.01, "foreground": 0.01, "sharpness": 0.002, "aspect": 0.1}
"""Least spread of each statistic: where all films have one shape, another shape is not yet far off."""


class Usual(Config):
    """What is usual of one statistic."""

    median: float
    spread: float = Field(gt=0, description="1.4826 × median absolute deviation, at least its floor")

    @classmethod
    def of(cls, values: NDArray[np.float64], floor: float) -> Usual:
        """Of N >= 1 values (N,)."""
        median = float(np.median(values))
        return cls(median=median, spread=max(1.4826 * float(np.median(np.abs(values - median))), floor))

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
        chosen = np.flatnonzero(pictures.healthy)
        patients = len({pictures.patients[index] for index in chosen})
        if patients < FEWEST_PATIENTS:
            raise TooFewImagesError(
                f"{patients} healthy patients are too few for a profile: it would tell of single ones",
                f"a profile needs {FEWEST_PATIENTS} healthy patients",
            )
        columns = pictures.statistics[chosen].T
        mean = pictures.thumbnails[chosen].mean(axis=0).reshape(THUMBNAIL, THUMBNAIL) / 255
        return cls(
            anatomy=anatomy,
            modality=modality,
            preprocessing=preprocessing,
            images=len(chosen),
            patients=patients,
            statistics={n: _rounded(Usual.of(c, FLOORS[n])) for n, c in zip(STATISTICS, columns, strict=True)},
            mean_picture=tuple(tuple(float(v) for v in row) for row in mean.round(2)),
        )

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Read a profile.

        Raises:
            ConfigError: it can't be read, or is none.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            reason = f"can't be read ({type(error).__name__})"
        except ValidationError as error:
            first = error.errors()[0]
            reason = f"{'.'.join(str(part) for part in first['loc']) or 'profile'}: {first['msg']}"
        raise ConfigError(f"{path}: {reason}", "`ra-client check --write-profile` makes one")

    def save(self, path: Path) -> None:
        """Write it, atomically.

        Raises:
            OSError: the disk is full or the folder can't be written.
        """
        write_atomically(path, (self.model_dump_json(indent=2) + "\n").encode())


def _rounded(usual: Usual) -> Usual:
    return Usual(median=round(usual.median, 4), spread=round(usual.spread, 4))
