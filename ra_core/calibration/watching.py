"""Whether what is scored is still like what a threshold was set on: histograms of both, compared by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from pydantic import Field, field_validator

from ra_core.calibration.traits import GROUPS
from ra_core.settings import Config
from ra_core.thresholds import Histogram, Unit, merged
from ra_core.thresholds.drift import Drift, drift, least_ks

__all__ = ["CONFIDENCE", "FEW", "NOTABLE", "UNITS", "Compared", "Tallies", "Visible", "compare", "holm", "visible"]

UNITS: tuple[Unit, ...] = ("slice", "study")

Cells = tuple[tuple[int, int, int], ...]

CONFIDENCE = 0.95
"""With which a check is said to have moved: all that is compared at once is wrong in one month of twenty."""

NOTABLE = 0.1
"""Stability index, or difference of distribution functions, below which a change is small, however sure it is.

Of the index it is the usual rule (Siddiqi 2006, "Credit Risk Scorecards").
"""

FEW = 20
"""Studies of the month, or patients of the calibration, below which only a large change shows."""


class Tallies(Config):
    """Histograms by name, of pictures by themselves and of studies of several pictures: one value a patient or study.

    Attributes:
        slice, study: cells of `Histogram` by the names in `traits.GROUPS`; of a study's pictures the mean, but of
            scores the highest.
    """

    slice: dict[str, Cells] = Field(default_factory=dict)
    study: dict[str, Cells] = Field(default_factory=dict)

    @field_validator("slice", "study")
    @classmethod
    def _are_histograms(cls, value: dict[str, Cells]) -> dict[str, Cells]:
        unknown = sorted(value.keys() - GROUPS.keys())
        if unknown:
            raise ValueError(f"'{unknown[0]:.40}' is nothing that is compared")
        for cells in value.values():
            Histogram(cells)
        return value

    def of(self, unit: Unit) -> dict[str, Histogram]:
        """By name, in the order of `traits.GROUPS`."""
        found: dict[str, Cells] = getattr(self, unit)
        return {name: Histogram(found[name]) for name in GROUPS if name in found}

    def plus(self, unit: Unit, values: Mapping[str, float]) -> Self:
        """With the numbers of one more patient or study.

        Raises:
            ValueError: a number is negative or not finite, or of no name that is known.
        """
        kept = self.of(unit)
        more = {name: merged([kept.get(name, Histogram(())), Histogram.of([value])]) for name, value in values.items()}
        together = {name: found.cells for name, found in (kept | more).items()}
        return type(self).model_validate(self.model_dump() | {unit: together})


@dataclass(frozen=True)
class Compared:
    """One number of later studies beside those of the calibration.

    Attributes:
        unit: pictures by themselves, or studies.
        name: of `traits.GROUPS`.
        drift: how far both are apart.
        p: chance of such a difference if nothing had changed: the smaller of two tests, after the correction of Holm
            (1979) for all that is compared.
    """

    unit: Unit
    name: str
    drift: Drift
    p: float

    @property
    def check(self) -> str:
        """What it belongs to: scores, intensity, orientation or size."""
        return GROUPS[self.name]

    @property
    def moved(self) -> bool:
        """Whether it is sure to have changed, and by more than a little."""
        return self.p < 1 - CONFIDENCE and max(self.drift.psi, self.drift.ks) >= NOTABLE


def compare(reference: Tallies, later: Tallies) -> list[Compared]:
    """All that both have, slices first, in the order of `traits.GROUPS`."""
    found = list(_pairs(reference, later))
    adjusted = holm([p for *_, one in found for p in (one.ks_p, one.psi_p)])
    smaller = [min(adjusted[2 * place : 2 * place + 2]) for place in range(len(found))]
    return [Compared(unit, name, one, p) for (unit, name, one), p in zip(found, smaller, strict=True)]


class Visible(NamedTuple):
    """What could have been seen of one unit.

    Attributes:
        unit: pictures by themselves, or studies.
        n_reference, n: patients of the calibration and later studies; of all numbers the fewest.
        ks: difference of distribution functions above which a number is said to have moved.
    """

    unit: Unit
    n_reference: int
    n: int
    ks: float

    @property
    def few(self) -> bool:
        """Whether only a large change shows."""
        return min(self.n_reference, self.n) < FEW


def visible(compared: Sequence[Compared]) -> list[Visible]:
    """For each unit that was compared; a single difference has to be sure beside all that is compared."""
    found = []
    for unit in UNITS:
        drifts = [one.drift for one in compared if one.unit == unit]
        if drifts:
            n_reference, n = min(one.n_reference for one in drifts), min(one.n for one in drifts)
            ks = least_ks(n_reference, n, (1 - CONFIDENCE) / (2 * len(compared)))
            found.append(Visible(unit, n_reference, n, max(NOTABLE, ks)))
    return found


def holm(p: list[float]) -> list[float]:
    """Chances adjusted for being so many, in their order (Holm 1979, "A simple sequentially rejective multiple test").

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    stepped = np.minimum(np.maximum.accumulate(np.asarray(p, np.float64)[order] * factors), 1)
    adjusted = np.empty(len(p))
    adjusted[order] = stepped
    return [float(value) for value in adjusted]


def _pairs(reference: Tallies, later: Tallies) -> Iterator[tuple[Unit, str, Drift]]:
    for unit in UNITS:
        before, after = reference.of(unit), later.of(unit)
        for name in (name for name in before if name in after):
            yield unit, name, drift(before[name], after[name])
