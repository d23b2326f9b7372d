"""What a site keeps of the studies that it scores: histograms, one file a month and model, in its state folder.

No name, no score by itself and no picture is in it, but a part of each study's digest, by which none counts twice. It
is for its owner alone, and nothing sends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from filelock import FileLock
from pydantic import Field, ValidationError

from ra_core.calibration.watching import Tallies
from ra_core.errors import ResumeError
from ra_core.files import LARGE, read_bounded, write_atomically
from ra_core.settings import Config, first_problem
from ra_core.thresholds import Unit

__all__ = ["MONTH", "History", "Month"]

FOLDER = "scores"
MONTH = r"\d{4}-(0[1-9]|1[0-2])"
"""How a month is written."""

DIGITS = 16
"""Of a study's digest and of a model's identity that are kept."""


class Month(Config):
    """Studies that were scored in one month, by UTC, with one model and calibration.

    Attributes:
        month: as 2026-01.
        model: `Model.identity`.
        studies: starts of the digests of their files.
        tallies: histograms of their numbers.
    """

    format: Literal[1] = 1
    month: str = Field(pattern=f"^{MONTH}$")
    model: str
    studies: tuple[str, ...] = ()
    tallies: Tallies = Tallies()


class History:
    """All months of one model and calibration.

    Args:
        state: the site's state folder.
        model: `Model.identity`.

    Raises:
        ResumeError: a month's file is damaged.
    """

    def __init__(self, state: Path, model: str) -> None:
        self.folder, self.model = state / FOLDER, model
        self._counted = {study for month in self.months for study in self.month(month).studies}

    @property
    def months(self) -> list[str]:
        """Those with studies, the earliest first."""
        return sorted(path.name[:7] for path in self.folder.glob(f"????-??-{self.model[:DIGITS]}.json"))

    def month(self, month: str) -> Month:
        """One of them; empty where nothing was scored.

        Raises:
            ResumeError: its file is damaged.
        """
        path = self._path(month)
        try:
            found = Month.model_validate_json(read_bounded(path, LARGE))
        except FileNotFoundError:
            return Month(month=month, model=self.model)
        except ValidationError as error:
            reason = first_problem(error, "history")
        else:
            if (found.month, found.model) == (month, self.model):
                return found
            reason = "is of another month or model"
        hint = "set it aside: the months before and after are files of their own"
        raise ResumeError(f"{path.name} in the state folder's {FOLDER}: {reason}", hint)

    def has(self, content: str) -> bool:
        """Whether a study was counted in any month, by SHA-256 of its files."""
        return content[:DIGITS] in self._counted

    def add(self, content: str, unit: Unit, numbers: Mapping[str, float]) -> None:
        """Count a study in this month, on disk when this returns; one that was counted in any month changes nothing.

        Args:
            content: SHA-256 of its files.
            unit: `study` for a volume, `slice` for a picture by itself.
            numbers: by their names in `traits.GROUPS`.

        Raises:
            ResumeError: the month's file is damaged.
            OSError: the disk is full or the folder can't be written.
        """
        if self.has(content):
            return
        study = content[:DIGITS]
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(self.folder / ".lock"):
            kept = self.month(_now())
            if study not in kept.studies:
                facts = {"studies": (*kept.studies, study), "tallies": kept.tallies.plus(unit, numbers)}
                text = kept.model_copy(update=facts).model_dump_json() + "\n"
                write_atomically(self._path(kept.month), text.encode(), mode=0o600)
        self._counted.add(study)

    def _path(self, month: str) -> Path:
        return self.folder / f"{month}-{self.model[:DIGITS]}.json"


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m}"
