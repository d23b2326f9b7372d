"""Scores as counts on fixed edges: what a site can tell of its scores without telling one, and what adds up over sites.

The edges are the same for everybody and for ever: 0, then 100 to a factor of 10 from 1e-6 to 1e6, each rounded to six
digits so that all machines have the same. A cell lies between two of them, the upper one included, so that a threshold
on an edge is exceeded by just the scores of the cells above it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["EDGES", "EDGES_NAME", "Histogram", "edge_above", "merged"]

EDGES_NAME = "log100-1"
"""Of these edges; others would need another name."""

EDGES: NDArray[np.float64] = np.array([0.0, *(float(f"{10 ** (k / 100):.6g}") for k in range(-600, 601))])
EDGES.flags.writeable = False

CELLS = len(EDGES) + 1
"""Cell i ends at EDGES[i]; the first holds 0 alone, the last has no end."""

MOST = 1 << 24
"""Scores in a histogram: who lists them, as `highest` does, needs memory for each."""


def edge_above(value: float) -> float:
    """The lowest edge that is at least `value`; infinity above all edges."""
    place = int(np.searchsorted(EDGES, value))
    return float(EDGES[place]) if place < len(EDGES) else float("inf")


@dataclass(frozen=True)
class Histogram:
    """How many scores lie where.

    Attributes:
        cells: (first, last, count) each, ascending: so many scores lie in the cells from first to last, both included.
            Of one site they are disjoint; those of several sites may overlap.
    """

    cells: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        """Refuse what can't be.

        Raises:
            ValueError: cells are out of order or out of range, a count is not at least 1, or there are too many scores.
        """
        if any(not (0 <= first <= last < CELLS and count >= 1) for first, last, count in self.cells):
            raise ValueError("a cell of a histogram is out of range, or empty")
        if list(self.cells) != sorted(self.cells):
            raise ValueError("cells of a histogram are out of order")
        if self.n > MOST:
            raise ValueError(f"a histogram of more than {MOST} scores")

    @classmethod
    def of(cls, scores: ArrayLike, least: int = 1) -> Self:
        """Of scores (n,), each at least 0.

        Args:
            scores: in any order.
            least: smallest count that a cell may have: neighbours are joined, from the highest score down, until all
                have it. Where a cell of the highest scores ends still shows about where the highest of them lies.

        Raises:
            ValueError: a score is negative or not finite, or there are some, but fewer than `least`.
        """
        values = np.asarray(scores, np.float64)
        if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any():
            raise ValueError("need finite scores (n,), at least 0")
        if 0 < len(values) < least:
            raise ValueError(f"{len(values)} scores are fewer than a cell may have ({least})")
        places, counts = np.unique(np.searchsorted(EDGES, values), return_counts=True)
        cells: list[tuple[int, int, int]] = []
        last, held = -1, 0
        for place, count in zip(places[::-1].tolist(), counts[::-1].tolist(), strict=True):
            last, held = (last if held else place), held + count
            if held >= least:
                cells.append((place, last, held))
                held = 0
        if held:  # too few are left at the bottom
            _, last, count = cells.pop()
            cells.append((int(places[0]), last, count + held))
        return cls(tuple(reversed(cells)))

    @property
    def n(self) -> int:
        """Scores in all."""
        return sum(count for *_, count in self.cells)

    def columns(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """First cells, last cells and counts."""
        table = np.array(self.cells, np.int64).reshape(-1, 3)
        return table[:, 0], table[:, 1], table[:, 2]

    def highest(self) -> NDArray[np.float64]:
        """Each score as the upper end of its cell, (n,) ascending: no score is greater than told here."""
        _, last, counts = self.columns()
        return np.sort(np.repeat(np.append(EDGES, np.inf)[last], counts))

    def above(self, edge: float) -> tuple[int, int]:
        """How many scores are above an edge: the fewest and the most that it can be."""
        first, last, counts = self.columns()
        start, end = np.append(-np.inf, EDGES)[first], np.append(EDGES, np.inf)[last]
        return int(counts[start >= edge].sum()), int(counts[end > edge].sum())


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """All scores together, in any order."""
    counts: Counter[tuple[int, int]] = Counter()
    for first, last, count in (cell for histogram in histograms for cell in histogram.cells):
        counts[first, last] += count
    return Histogram(tuple((first, last, count) for (first, last), count in sorted(counts.items())))
