"""What a study's cells say: numbers averaged over seeds and sites, and paired differences between cells.

All cells draw the same patients, so the bootstrap values of two of them differ by the paired difference: patient by
patient, which is far surer than comparing two intervals.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ra_core.metrics import Estimate, Resampling, average
from simulation.grid.arms import ARMS
from simulation.grid.measure import MEASURING_SEED
from simulation.grid.result import CellResult

__all__ = ["MARGIN", "Answers", "Verdict", "difference", "over_seeds"]

MARGIN = 0.02
"""Two models are called equivalent only where the whole interval of their difference lies within this."""


class Verdict(StrEnum):
    """What the interval of a paired difference says."""

    better = "better"
    worse = "worse"
    equivalent = "equivalent"
    inconclusive = "inconclusive"

    @classmethod
    def of(cls, found: Estimate) -> Verdict:
        """Better or worse where the interval leaves out 0, equivalent where it lies within the margin."""
        if found.ci_low is None or found.ci_high is None:
            return cls.inconclusive
        if found.ci_low > -MARGIN and found.ci_high < MARGIN:
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
        return Estimate(a.value - b.value, None, None, *counts, "no interval: bootstrap values were not kept")
    return Estimate.of(a.value - b.value, a.resampled - b.resampled, confidence, counts)


def over_seeds(estimates: Sequence[Estimate], confidence: float) -> Estimate:
    """Mean over seeds of training; its interval is that of the patients alone, since there are few seeds.

    Raises:
        ValueError: there is none.
    """
    if not estimates:
        raise ValueError("no seed has this number")
    first = estimates[0]
    counts = first.n_healthy, first.n_anomalous
    lacking = [found for found in estimates if found.value is None]
    if lacking:
        return Estimate(None, None, None, *counts, lacking[0].note)
    value = math.fsum(found.value or 0.0 for found in estimates) / len(estimates)
    if any(len(found.resampled) != len(first.resampled) or not len(found.resampled) for found in estimates):
        return Estimate(value, None, None, *counts, "no interval: bootstrap values were not kept")
    mean = np.mean([found.resampled for found in estimates], axis=0)
    return Estimate.of(value, mean, confidence, counts)


@dataclass(frozen=True)
class Answers:
    """Looks cells up.

    Attributes:
        results: finished cells.
        trained, held_out: names of sites, in the study's order.
        confidence: of the intervals.
        bootstrap: resamples of each.
    """

    results: Sequence[CellResult]
    trained: tuple[str, ...]
    held_out: tuple[str, ...]
    confidence: float
    bootstrap: int

    @property
    def methods(self) -> list[str]:
        """With a finished cell, in the order of the cells."""
        return list(dict.fromkeys(result.method for result in self.results))

    @property
    def arms(self) -> list[str]:
        """With a finished cell, in their usual order."""
        found = {result.arm for result in self.results}
        return [arm for arm in ARMS if arm in found]

    def seeds(self, method: str, arm: str) -> list[int]:
        """Finished for every variant of an arm."""
        by_variant: dict[str, set[int]] = defaultdict(set)
        for result in self._of(method, arm):
            by_variant[result.variant].add(result.seed)
        return sorted(set.intersection(*by_variant.values())) if by_variant else []

    def at(
        self, method: str, arm: str, site: str, metric: str, scoring: str | None = None, anomaly: str = "all"
    ) -> Estimate | None:
        """A number at one site, averaged over seeds; None where there is no cell, or no such number in it.

        It is of the site's own model (local), of the one trained without it (leave_one_out), else of the arm's model.

        Args:
            method: name in the study.
            arm: of `ARMS`.
            site: tested on.
            metric: as in the table.
            scoring: by name; that which healthy images chose where none is given.
            anomaly: as in the table.
        """
        variant = {"local": site, "leave_one_out": f"without {site}"}.get(arm, "")
        found = {
            result.seed: number.estimate
            for result in self._of(method, arm)
            if result.variant == variant and (number := result.find(site, metric, scoring, anomaly)) is not None
        }
        return over_seeds([found[seed] for seed in sorted(found)], self.confidence) if found else None

    def mean(
        self,
        method: str,
        arm: str,
        metric: str,
        sites: Sequence[str],
        scoring: str | None = None,
        anomaly: str = "all",
    ) -> Estimate | None:
        """Mean over sites, each counting the same; None where a site has no cell."""
        found = [self.at(method, arm, site, metric, scoring, anomaly) for site in sites]
        return self._average(found)

    def versus(
        self, a: tuple[str, str], b: tuple[str, str], metric: str, sites: Sequence[str], scoring: str | None = None
    ) -> Estimate | None:
        """Paired difference of two (method, arm), averaged over sites; None where one has no cell."""
        found: list[Estimate | None] = []
        for site in sites:
            one, other = self.at(*a, site, metric, scoring), self.at(*b, site, metric, scoring)
            found.append(None if one is None or other is None else difference(one, other, self.confidence))
        return self._average(found)

    def growing(self, method: str, metric: str, sites: Sequence[str]) -> dict[int, Estimate]:
        """Means over sites by the number of sites that a federated model was trained on, all of them included."""
        found: dict[int, Estimate] = {}
        for result in [*self._of(method, "growing"), *self._of(method, "fedavg")]:
            if result.seed != min(self.seeds(method, "fedavg"), default=result.seed):
                continue
            numbers = [result.find(site, metric) for site in sites]
            estimates = [number.estimate if number else None for number in numbers]
            mean = self._average(estimates)
            if mean is not None:
                found[len(result.train_sites)] = mean
        return dict(sorted(found.items()))

    def _of(self, method: str, arm: str) -> Iterable[CellResult]:
        return (result for result in self.results if (result.method, result.arm) == (method, arm))

    def _average(self, found: Sequence[Estimate | None]) -> Estimate | None:
        known = [one for one in found if one is not None]
        if not known or len(known) < len(found):
            return None
        settings = Resampling(bootstrap=self.bootstrap, confidence=self.confidence, seed=MEASURING_SEED)
        return known[0] if len(known) == 1 else average(known, **settings)
