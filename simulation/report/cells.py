"""A number with its interval, how it is written, and how two of them compare."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from enum import Enum

from markupsafe import Markup, escape

from ra_core.metrics import Estimate
from ra_core.results import ResultRow

__all__ = ["Cell", "Verdict", "compare", "number", "unbroken"]


class Verdict(Enum):
    """How a number stands to another; the value is what the page says."""

    BETTER = "better"
    ALIKE = "not distinguishable"
    WORSE = "worse"
    UNKNOWN = "not comparable"


@dataclass(frozen=True)
class Cell:
    """What a report needs of a row.

    Attributes:
        value: None where it can't be had; the reason is in `note`.
        low, high: ends of the interval.
        n_healthy, n_anomalous: images behind it.
        note: parts joined by "; ".
        extra: a word that stands beside the number.
        signed: whether it is a difference, which is written with its sign.
        lack: what stands in the place of a value that can't be had.
    """

    value: float | None
    low: float | None
    high: float | None
    n_healthy: int
    n_anomalous: int
    note: str = ""
    extra: str = ""
    signed: bool = False
    lack: str = "not estimable"

    @classmethod
    def of(cls, row: ResultRow | Estimate) -> Cell:
        """The numbers of a row, or of an estimate."""
        return cls(row.value, row.ci_low, row.ci_high, row.n_healthy, row.n_anomalous, row.note)

    def either_way(self) -> Cell:
        """An AUROC read in the direction in which it is at least 0.5."""
        if self.value is None or self.value >= 0.5:
            return self
        low, high = (None if end is None else 1 - end for end in (self.high, self.low))
        return replace(self, value=1 - self.value, low=low, high=high).named("reversed")

    def named(self, name: str) -> Cell:
        """The same with a word beside it."""
        return replace(self, extra=f"{name}, {self.extra}" if self.extra else name)

    @property
    def ends(self) -> tuple[float, float] | None:
        """Of the interval, if there is one."""
        return None if self.value is None or self.low is None or self.high is None else (self.low, self.high)

    @property
    def interval(self) -> str:
        """For example "(0.795–0.880)"; empty without one."""
        if self.value is None or self.ends is None:
            return ""
        if self.signed:
            return f"({_signed(self.ends[0])} to {_signed(self.ends[1])})"
        low, high = (number(end, _decimals(self.value)) for end in self.ends)
        return f"({low}–{high})"

    @property
    def figure(self) -> str:
        """For example "0.836", "+0.012", or that it can't be had."""
        if self.value is None:
            return self.lack
        return _signed(self.value) if self.signed else number(self.value)

    @property
    def text(self) -> str:
        """For example "0.836 (0.795–0.880)", "+0.012 (−0.034 to +0.058)", or that it can't be had."""
        return f"{self.figure} {self.interval}".strip()


def number(value: float, decimals: int | None = None) -> str:
    """Three decimals, and more where fewer than two digits would count: 0.836, 0.0021; powers of ten below 0.00001."""
    if 0 < abs(value) < 1e-5:
        return f"{value:.1e}"
    return f"{value:.{_decimals(value) if decimals is None else decimals}f}"


def _signed(value: float) -> str:
    """Three decimals of a difference: +0.012, −0.034."""
    return f"{value:+.3f}".replace("-", "−") if round(value, 3) else "0.000"


def _decimals(value: float) -> int:
    return max(3, 1 - math.floor(math.log10(max(abs(value), 1e-5)))) if value else 3


def compare(ours: Cell | None, theirs: Cell | None) -> Verdict:
    """Whether `ours` is better, where more is better: by whether the two intervals overlap."""
    if ours is None or theirs is None or ours.ends is None or theirs.ends is None:
        return Verdict.UNKNOWN
    if ours.ends[0] > theirs.ends[1]:
        return Verdict.BETTER
    return Verdict.WORSE if ours.ends[1] < theirs.ends[0] else Verdict.ALIKE


def unbroken(text: str) -> Markup:
    """The text, escaped, whose intervals stay on one line."""
    safe = str(escape(text))
    return Markup(re.sub(r"\([+−]?\d[\d.]*(–| to )[+−]?[\d.]+\)", r'<span class="nb">\g<0></span>', safe))  # noqa: S704 - escaped
