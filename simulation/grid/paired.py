"""Paired differences, and what their intervals allow to be said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from ra_core.metrics import Estimate

__all__ = [
    "FEW_FOR_EQUIVALENCE",
    "FEW_TO_JUDGE",
    "LEAST",
    "MARGIN",
    "Paired",
    "Verdict",
    "difference",
    "noted",
    "widened",
]

MARGIN = 0.02
"""Two models are called equivalent only where the whole interval of their difference lies within this."""

ROUNDING = 0.0005
"""Two numbers are called the same where the whole interval of their difference is 0.000 in a table's digits, and within
a hundredth of the smaller one: rounding in exact federations is far less."""

LEAST = 5 * MARGIN
"""Below this nothing is called equivalent: near 0 any two numbers lie within the margin, those of chance among them."""

FEW_FOR_EQUIVALENCE = 30
"""Patients of each kind below which nothing is called equivalent: two models that make no mistake on a handful of
patients have an interval of no width."""

FEW_TO_JUDGE = 10
"""Patients of each kind below which a difference is inconclusive whatever its interval: percentile intervals of so few
are too narrow, and differences that are none leave out 0 far oftener than they should."""

UNKEPT = "no interval: bootstrap values were not kept"


@dataclass(frozen=True)
class Paired(Estimate):
    """A paired difference.

    Attributes:
        patients: healthy or sick ones behind it, whichever are fewer; of sites that are averaged, the sum.
        lowest: what the smaller of the two numbers may be as little as: the lower end of its interval.
    """

    patients: int = 0
    lowest: float = 0.0

    @property
    def can_be_judged(self) -> bool:
        """Whether its interval says anything."""
        return self.ci_low is not None and self.ci_high is not None and self.patients >= FEW_TO_JUDGE

    @property
    def is_identity(self) -> bool:
        """Whether nothing but rounding is within its interval."""
        if self.ci_low is None or self.ci_high is None:
            return False
        return max(-self.ci_low, self.ci_high) <= min(ROUNDING, self.lowest / 100)

    @property
    def is_harm(self) -> bool:
        """Whether all of the interval is below 0, within the margin or not; False too where it can't be told."""
        judged = self.can_be_judged and not self.is_identity
        return judged and self.ci_high is not None and self.ci_high < 0

    @classmethod
    def by(cls, found: Estimate, patients: int, lowest: float) -> Paired:
        """A difference with what is behind it."""
        same = {one.name: getattr(found, one.name) for one in fields(Estimate)}
        return cls(**same, patients=patients, lowest=lowest)


class Verdict(StrEnum):
    """What the interval of a paired difference says."""

    better = "better"
    worse = "worse"
    equivalent = "equivalent"
    same = "the same"
    inconclusive = "inconclusive"

    @classmethod
    def of(cls, found: Paired) -> Verdict:
        """The same where the interval is 0 in all digits shown, equivalent where it lies within the margin.

        Both need enough patients, and equivalence that neither number is near 0. Else
        better or worse where it leaves out 0 and patients aren't too few, and inconclusive elsewhere.
        """
        if found.ci_low is None or found.ci_high is None or found.patients < FEW_TO_JUDGE:
            return cls.inconclusive
        enough = found.patients >= FEW_FOR_EQUIVALENCE
        if found.is_identity:
            return cls.same if enough else cls.inconclusive
        if enough and found.lowest >= LEAST and max(-found.ci_low, found.ci_high) < MARGIN:
            return cls.equivalent
        if found.ci_low > 0:
            return cls.better
        return cls.worse if found.ci_high < 0 else cls.inconclusive


def difference(a: Estimate, b: Estimate, confidence: float) -> Estimate:
    """A - b of two numbers of the same images, with the paired interval; counts are of a."""
    counts = a.n_healthy, a.n_anomalous
    if a.value is None or b.value is None:
        return Estimate(None, None, None, *counts, a.note or b.note)
    if not len(a.resampled) or len(a.resampled) != len(b.resampled):
        return noted(Estimate(a.value - b.value, None, None, *counts, UNKEPT), (a, b))
    return noted(Estimate.of(a.value - b.value, a.resampled - b.resampled, confidence, counts), (a, b))


def noted(made: Estimate, of: Sequence[Estimate]) -> Estimate:
    """A number with what is noted of all those that it was made of, after what is noted of itself."""
    first, *others = (found.note.split("; ") for found in of)
    shared = (part for part in first if all(part in other for other in others))
    parts = dict.fromkeys(part for part in (*made.note.split("; "), *shared) if part)
    return replace(made, note="; ".join(parts))


def widened(found: Estimate, patients: int, confidence: float) -> Estimate:
    """The same with its bootstrap values sqrt(n / (n - 1)) times as far from it, for n patients.

    Values drawn from a sample vary by (n - 1) / n of what the sample's own variance says: intervals of 4 patients are
    too narrow by an eighth (Hesterberg 2015, The American Statistician 69, "narrowness bias").
    """
    if found.value is None or not len(found.resampled):
        return found
    n = max(patients, 2)
    drawn = found.value + math.sqrt(n / (n - 1)) * (found.resampled - found.value)
    counts = found.n_healthy, found.n_anomalous
    return replace(Estimate.of(found.value, drawn, confidence, counts), note=found.note)
