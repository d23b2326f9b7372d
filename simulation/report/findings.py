"""The rows of an experiment by what they are about: which methods there are, and what each has at each place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ra_core.evaluation import CHOSEN_NOTE
from ra_core.results import EACH_ITS_OWN, ResultRow
from simulation.report.cells import Cell
from simulation.report.data import CHOSEN, ArmFacts, ReportData

__all__ = ["BASELINES", "PAPER", "Findings", "Line", "Place"]

BASELINES = {"nearest_neighbour": "nearest neighbour", "pca": "PCA"}
PAPER, PLAIN = "paper", "residual"
"""Names of the paper's scoring and of the plainest."""

Key = tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Where something is measured.

    Attributes:
        name: of a site, or of an average over sites.
        kind: trained, held out or average.
    """

    name: str
    kind: str

    @property
    def at(self) -> str:
        """For sentences."""
        return f"on {self.name}" if self.kind == "average" else f"at {self.name}"


@dataclass(frozen=True)
class Line:
    """A row of a table.

    Attributes:
        label: for people.
        kind: "ours", "ra", "baseline" or "shortcut".
        find: (place's name, metric, anomaly) -> what there is.
    """

    label: str
    kind: str
    find: Callable[[str, str, str], Cell | None]


class Findings:
    """Looks rows up.

    Args:
        data: the experiment.

    Attributes:
        sites: trained on, then held out.
        averages: over sites, as the rows bring them up.
        places: all of these.
        ours: the model that the page is about.

    Raises:
        ValueError: two rows are about the same thing, or there is no model.
    """

    def __init__(self, data: ReportData) -> None:
        if not data.arms:
            raise ValueError("a report needs at least one trained model")
        self.data = data
        self.ours = next((arm for arm in data.arms if arm.kind == "federated"), data.arms[0])
        self._rows: dict[Key, ResultRow] = {}
        sites = {site.name: site.role for site in sorted(data.sites, key=lambda site: site.role != "trained")}
        averages = dict.fromkeys(row.test_site for row in data.rows if row.test_site not in sites)
        for row in data.rows:
            for key in _keys(row, average=row.test_site in averages):
                if self._rows.setdefault(key, row) is not row:
                    raise ValueError(f"two rows of results about the same thing: {', '.join(key)}")
        self.sites = [Place(name, role) for name, role in sites.items()]
        self.averages = [Place(name, "average") for name in averages]
        self.places = self.sites + self.averages

    def our(self, place: Place, metric: str, anomaly: str = "all") -> Cell | None:
        """What the model that the page is about has at a place, under the scoring chosen there."""
        return self.ra(self.ours, place.name, metric, anomaly)

    def ra(self, arm: ArmFacts, place: str, metric: str, anomaly: str = "all", scoring: str = CHOSEN) -> Cell | None:
        """What a model has at a place, under the scoring chosen there or another one."""
        name = arm.chosen.get(place, CHOSEN) if scoring == CHOSEN else scoring
        return self._cell("ra", arm.kind, arm.train_sites, name, place, metric, anomaly)

    def own(self, place: str, metric: str, anomaly: str = "all") -> Cell | None:
        """What the model trained on a site alone has there; for an average, what all of these have."""
        for arm in self._local:
            if arm.train_sites == place:
                return self.ra(arm, place, metric, anomaly)
        return self._cell("ra", "local", EACH_ITS_OWN, CHOSEN, place, metric, anomaly)

    def baseline(
        self, method: str, place: str, metric: str, anomaly: str = "all", scoring: str = CHOSEN
    ) -> Cell | None:
        """What nearest neighbour or PCA has, under the scoring chosen there or another one."""
        return self._cell(method, "", "", scoring, place, metric, anomaly)

    def best_baseline(self, place: str, metric: str, anomaly: str = "all") -> Cell | None:
        """The higher of the baselines, which favours them; says which."""
        found = {label: self.baseline(method, place, metric, anomaly) for method, label in BASELINES.items()}
        return _highest(cell.named(label) for label, cell in found.items() if cell)

    def shortcut(self, name: str, place: str, metric: str, anomaly: str = "all") -> Cell | None:
        """What a plain number of the picture has; an image AUROC is read either way round."""
        cell = self._cell("shortcut", "", "", name, place, metric, anomaly)
        return cell.either_way() if cell and metric == "auroc" else cell

    def best_shortcut(self, place: str, metric: str, anomaly: str = "all") -> Cell | None:
        """The highest of the shortcuts, which favours them; says which."""
        found = {name: self.shortcut(name, place, metric, anomaly) for name in self.shortcuts}
        return _highest(cell.named(name) for name, cell in found.items() if cell)

    @property
    def study(self) -> Mapping[str, Any]:
        """The study's settings."""
        study: Mapping[str, Any] = self.data.record["plan"]["study"]
        return study

    @property
    def shortcuts(self) -> list[str]:
        """Names, as the rows bring them up."""
        return list(dict.fromkeys(row.scoring for row in self.data.rows if row.method == "shortcut"))

    @property
    def scorings(self) -> list[str]:
        """Names of the scorings of RA, as the rows bring them up."""
        names = dict.fromkeys(row.scoring for row in self.data.rows if row.method == "ra" and row.anomaly == "all")
        return [name for name in names if name != CHOSEN]

    def lines(self) -> Iterator[Line]:
        """All that is compared: our model first, then other models, baselines and shortcuts."""
        ours = self.ours
        yield Line(f"RA, {ours.name}", "ours", partial(self.ra, ours))
        yield Line(f"RA, {ours.name}, paper's scoring", "ra", partial(self.ra, ours, scoring=PAPER))
        for arm in self.data.arms:
            if arm is not ours:
                yield Line(f"RA, {arm.name}", "ra", partial(self.ra, arm))
        if len(self._local) > 1:
            yield Line("RA, local, each site its own", "ra", self.own)
        for method, label in BASELINES.items():
            yield Line(label, "baseline", partial(self.baseline, method))
            yield Line(f"{label}, plain residual", "baseline", partial(self.baseline, method, scoring=PLAIN))
        for name in self.shortcuts:
            yield Line(f"shortcut: {name}", "shortcut", partial(self.shortcut, name))

    def rivals(self) -> Iterator[Line]:
        """What our model is compared with in words."""
        for method, label in BASELINES.items():
            yield Line(label, "baseline", partial(self.baseline, method))
        yield Line("the strongest shortcut", "shortcut", self.best_shortcut)
        if any(arm is not self.ours for arm in self._local):
            yield Line("the local model of the same site", "ra", self.own)
        for arm in self.data.arms:
            if arm.kind == "pooled" and arm is not self.ours:
                yield Line(f"the {arm.name} model", "ra", partial(self.ra, arm))

    def our_synthetic(self, scoring: str, place: str) -> Cell | None:
        """Our model's mean AUROC over the kinds of synthetic anomaly; a mean of several, so without an interval."""
        key = ("ra", self.ours.kind, self.ours.train_sites, scoring, place)
        found = [
            row for k, row in self._rows.items() if k[:5] == key and k[5].startswith("synthetic: ") and k[6] == "auroc"
        ]
        values = [row.value for row in found if row.value is not None]
        if not values or len(values) < len(found):
            return None
        return Cell(sum(values) / len(values), None, None, found[0].n_healthy, found[0].n_anomalous)

    @property
    def _local(self) -> Sequence[ArmFacts]:
        return [arm for arm in self.data.arms if arm.kind == "local"]

    def _cell(self, *key: str) -> Cell | None:
        method, arm, train_sites, scoring, place, metric, anomaly = key
        row = self._rows.get((method, arm, train_sites, scoring, place, anomaly, metric))
        return Cell.of(row) if row else None


def _keys(row: ResultRow, *, average: bool) -> Iterator[Key]:
    """What a row is about. Baselines and shortcuts belong to no model: they have one result at each place.

    A baseline's chosen scoring is found under `CHOSEN` too; in averages a row of its own has it.
    """
    where = (row.test_site, row.anomaly, row.metric)
    model = (row.arm, row.train_sites) if row.method == "ra" else ("", "")
    yield (row.method, *model, row.scoring, *where)
    if row.method in BASELINES and CHOSEN_NOTE in row.remark and not average:
        yield (row.method, *model, CHOSEN, *where)


def _highest(cells: Iterable[Cell]) -> Cell | None:
    """The first of the highest; one that can't be had only if none can."""
    return max(cells, key=lambda cell: -1.0 if cell.value is None else cell.value, default=None)
