"""What a study's cells say: numbers averaged over seeds and sites, and paired differences between cells.

All cells draw the same patients, so the bootstrap values of two of them differ by the paired difference: patient by
patient, which is far surer than comparing two intervals.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ra_core.glossary import SHORTCUT
from ra_core.metrics import Estimate
from simulation.grid.arms import ARMS, UNTRAINED
from simulation.grid.averages import lacks_images, over_seeds, over_sites
from simulation.grid.paired import Paired, difference, widened
from simulation.grid.result import CellResult, Number

__all__ = ["Answers"]

CHANCE = 0.5


@dataclass(frozen=True)
class Answers:
    """Looks cells up.

    Attributes:
        results: finished cells.
        trained, held_out: names of sites, in the study's order.
        patients: healthy and sick test patients by site.
        confidence: of the intervals.
        bootstrap: resamples of each.
    """

    results: Sequence[CellResult]
    trained: tuple[str, ...]
    held_out: tuple[str, ...]
    patients: Mapping[str, tuple[int, int]]
    confidence: float
    bootstrap: int

    @property
    def methods(self) -> list[str]:
        """With a finished cell, in the order of the cells."""
        return list(dict.fromkeys(result.method for result in self.results if result.arm != UNTRAINED))

    @property
    def arms(self) -> list[str]:
        """With a finished cell, in their usual order."""
        found = {result.arm for result in self.results}
        return [arm for arm in ARMS if arm in found]

    def shortcut(self, name: str, site: str, metric: str) -> Estimate | None:
        """What a plain number of the picture has at a site; without a value where it isn't known, and the note says so.

        Read an AUROC both ways round: 0.1 tells as much as 0.9.

        Args:
            name: of `glossary.SHORTCUTS_TOLD`.
            site: tested on.
            metric: as in the table.
        """
        for result in self.of(SHORTCUT, UNTRAINED):
            number = self._numbers.get((result.key, site, metric, name, "all"))
            if number is not None:
                return number.estimate
        return None

    def seeds(self, method: str, arm: str) -> list[int]:
        """Finished for every variant of an arm; models that held-out sites have for themselves are no part of it."""
        by_variant: dict[str, set[int]] = defaultdict(set)
        for result in self._shared(method, arm):
            by_variant[result.variant].add(result.seed)
        return sorted(set.intersection(*by_variant.values())) if by_variant else []

    def of(self, method: str, arm: str) -> Sequence[CellResult]:
        """Finished cells of a method trained in one way, in the order of the cells."""
        return self._cells.get((method, arm), [])

    def models(self, method: str, arm: str, site: str) -> list[CellResult]:
        """Finished cells of a site's model: its own (local), that without it (leave_one_out), else the arm's."""
        variant = {"local": site, "leave_one_out": f"without {site}"}.get(arm, "")
        return [result for result in self.of(method, arm) if result.variant == variant]

    def having(self, metric: str, anomaly: str) -> list[str]:
        """Trained sites of which any cell has such a number."""
        return [site for site in self.trained if site in self._sites.get((metric, anomaly), ())]

    def at(
        self,
        method: str,
        arm: str,
        site: str,
        metric: str,
        scoring: str | None = None,
        anomaly: str = "all",
        seeds: Collection[int] | None = None,
    ) -> Estimate | None:
        """A number at one site, averaged over seeds; None where there is no cell, or no such number in it.

        Which model's, `models` says. Where a site can have no model, there is no value, and the note says why.

        Args:
            method: name in the study.
            arm: of `ARMS`.
            site: tested on.
            metric: as in the table.
            scoring: by name; that which healthy images chose where none is given.
            anomaly: as in the table.
            seeds: averaged over; all finished ones where none are given.
        """
        found = {
            result.seed: estimate
            for result in self.models(method, arm, site)
            if seeds is None or result.seed in seeds
            if (estimate := self._estimate(result, site, metric, scoring, anomaly)) is not None
        }
        return over_seeds([found[seed] for seed in sorted(found)], self.confidence) if found else None

    def elsewhere(self, method: str, site: str, metric: str, scoring: str | None = None) -> Estimate | None:
        """Mean of what other trained sites' own models have at a site, scored as in `at`; None where there are none."""
        seeds = self.seeds(method, "local")
        found = [
            self._estimate(result, site, metric, scoring)
            for result in self._shared(method, "local")
            if result.variant != site and result.seed in seeds
        ]
        known = [one for one in found if one is not None]
        return over_seeds(known, self.confidence) if known and len(known) == len(found) else None

    def mean(
        self,
        method: str,
        arm: str,
        metric: str,
        sites: Sequence[str],
        scoring: str | None = None,
        anomaly: str = "all",
        seeds: Collection[int] | None = None,
    ) -> Estimate | None:
        """Mean over sites, each counting the same; None where a site has no cell.

        Sites without the images that a number is of (healthy and sick ones, ones with lesion masks) are left out. Of
        the seeds given, or else of those that are finished for every site.
        """
        seeds = self.seeds(method, arm) if seeds is None else seeds
        return self._over_sites([self.at(method, arm, site, metric, scoring, anomaly, seeds) for site in sites])

    def versus(
        self,
        a: tuple[str, str],
        b: tuple[str, str],
        metric: str,
        sites: Sequence[str],
        scorings: tuple[str | None, str | None] = (None, None),
    ) -> Paired | None:
        """Paired difference of two (method, arm), averaged over sites and the seeds that both have.

        None where one has no cell. Each has its scoring, as in `at`.
        """
        seeds = {*self.seeds(*a)} & {*self.seeds(*b)}
        ours, theirs = (
            {site: self.at(*of, site, metric, scoring, seeds=seeds) for site in sites}
            for of, scoring in zip((a, b), scorings, strict=True)
        )
        return self._paired(ours, theirs)

    def growing(self, method: str, metric: str, sites: Sequence[str]) -> dict[int, Estimate]:
        """Means over sites by the number of sites trained on: the first one's own model, then federated ones."""
        by_count: dict[int, dict[int, CellResult]] = defaultdict(dict)
        for result in (r for arm in ("local", "growing", "fedavg") for r in self.of(method, arm)):
            if result.train_sites == self.trained[: len(result.train_sites)]:
                by_count[len(result.train_sites)][result.seed] = result
        shared = set.intersection(*map(set, by_count.values())) if by_count else set()
        found: dict[int, Estimate] = {}
        for count in sorted(by_count) if len(by_count) > 2 else ():
            means = []
            for site in sites:
                models = [self._estimate(by_count[count][seed], site, metric) for seed in sorted(shared)]
                known = [one for one in models if one is not None]
                means.append(over_seeds(known, self.confidence) if known else None)
            mean = self._over_sites(means)
            if mean is not None:
                found[count] = mean
        return found

    def spread(self, method: str, arm: str, metric: str, sites: Sequence[str]) -> Estimate | None:
        """Standard deviation over seeds of the mean over sites; None where there are fewer than two."""
        found = [self.mean(method, arm, metric, sites, seeds=[seed]) for seed in self.seeds(method, arm)]
        values = [one.value for one in found if one is not None and one.value is not None]
        if len(values) < 2 or found[0] is None:
            return None
        return Estimate(statistics.stdev(values), None, None, found[0].n_healthy, found[0].n_anomalous)

    @property
    def shortcuts(self) -> list[str]:
        """Names of those that were measured."""
        return list(dict.fromkeys(n.scoring for result in self.of(SHORTCUT, UNTRAINED) for n in result.numbers))

    def mean_shortcut(self, name: str, metric: str, sites: Sequence[str]) -> Estimate | None:
        """What a plain number of the picture has, averaged over sites; an image AUROC is read either way at each."""
        return self._over_sites([self._either_way(name, site, metric) for site in sites])

    def versus_shortcut(self, a: tuple[str, str], name: str, metric: str, sites: Sequence[str]) -> Paired | None:
        """Paired difference of a (method, arm) and a shortcut, averaged over sites; None where one has no number."""
        ours = {site: self.at(*a, site, metric, seeds=self.seeds(*a)) for site in sites}
        return self._paired(ours, {site: self._either_way(name, site, metric) for site in sites})

    def _either_way(self, name: str, site: str, metric: str) -> Estimate | None:
        """A shortcut's number; an AUROC in the direction in which it is at least 0.5."""
        found = self.shortcut(name, site, metric)
        if metric != "auroc" or found is None or found.value is None or found.value >= CHANCE:
            return found
        low, high = (None if end is None else 1 - end for end in (found.ci_high, found.ci_low))
        return replace(found, value=1 - found.value, ci_low=low, ci_high=high, resampled=1 - found.resampled)

    def _shared(self, method: str, arm: str) -> list[CellResult]:
        """Finished cells without those of models that held-out sites have for themselves."""
        return [result for result in self.of(method, arm) if result.variant not in self.held_out]

    @cached_property
    def _cells(self) -> Mapping[tuple[str, str], list[CellResult]]:
        found: dict[tuple[str, str], list[CellResult]] = defaultdict(list)
        for result in self.results:
            found[result.method, result.arm].append(result)
        return found

    @cached_property
    def _sites(self) -> Mapping[tuple[str, str], set[str]]:
        found: dict[tuple[str, str], set[str]] = defaultdict(set)
        for number in (number for result in self.results for number in result.numbers):
            found[number.metric, number.anomaly].add(number.test_site)
        return found

    @cached_property
    def _numbers(self) -> Mapping[tuple[str, ...], Number]:
        return {
            (result.key, number.test_site, number.metric, number.scoring, number.anomaly): number
            for result in self.results
            for number in result.numbers
        }

    def _estimate(
        self, result: CellResult, site: str, metric: str, scoring: str | None = None, anomaly: str = "all"
    ) -> Estimate | None:
        wanted = scoring or result.chosen.get(site, "none")
        number = self._numbers.get((result.key, site, metric, wanted, anomaly))
        if number is None and site not in result.chosen:  # it has no model; one number says why
            number = self._numbers.get((result.key, site, "auroc", "none", "all"))
        return number.estimate if number else None

    def _paired(self, ours: Mapping[str, Estimate | None], theirs: Mapping[str, Estimate | None]) -> Paired | None:
        """Of two numbers by site, the same sites: the mean of the differences."""
        found: list[Estimate | None] = []
        behind: list[tuple[int, int]] = []
        for site, a in ours.items():
            b = theirs[site]
            one = None if a is None or b is None else difference(a, b, self.confidence)
            if one is not None and not lacks_images(one):
                behind.append(self._behind(site, one))
                one = widened(one, _fewer(behind[-1:]), self.confidence)
            found.append(one)
        mean = self._over_sites(found)
        if mean is None:
            return None
        ends = [_low(self._over_sites([*numbers.values()])) for numbers in (ours, theirs)]
        return Paired.by(mean, _fewer(behind), min(ends))

    def _behind(self, site: str, found: Estimate) -> tuple[int, int]:
        """Healthy and sick patients behind a site's number, at most: it may be of few images, as those with masks."""
        healthy, sick = self.patients[site]
        return min(healthy, found.n_healthy), min(sick, found.n_anomalous)

    def _over_sites(self, found: Sequence[Estimate | None]) -> Estimate | None:
        return over_sites(found, self.bootstrap, self.confidence)


def _low(found: Estimate | None) -> float:
    """The lower end of a number's interval; 0 where there is none."""
    return 0.0 if found is None or found.ci_low is None else found.ci_low


def _fewer(behind: Sequence[tuple[int, int]]) -> int:
    """Healthy or sick patients of all sites, whichever are fewer; a number may be of one kind alone."""
    return min((total for kind in zip(*behind, strict=True) if (total := sum(kind))), default=0)
