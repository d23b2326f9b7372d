"""What a calibration came to, in words: the same on the terminal and on the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ra_core.calibration import Calibration
from ra_core.calibration.image_threshold import ImageThreshold
from ra_core.calibration.watching import NOTABLE
from ra_core.thresholds import Unit, patients_lacking
from ra_core.thresholds.drift import Drift
from ra_core.thresholds.record import Way
from ra_core.thresholds.told import more_than_asked
from ra_core.words import asked, percent

__all__ = ["NOTHING_SENT", "WHAT", "Outcome", "ThresholdRow"]

NOTHING_SENT = "Nothing was sent. These files stay here: they describe this site's patients."

WHAT: dict[Unit, str] = {"slice": "pictures by themselves", "study": "studies (a patient's highest picture)"}

SURE = 0.05
"""Chance below which a difference from the consortium's scores is taken for one."""


@dataclass(frozen=True)
class ThresholdRow:
    """A threshold of one unit and way, as a card shows it.

    Attributes:
        unit, threshold: which it is.
        in_force: whether it decides.
    """

    unit: Unit
    threshold: ImageThreshold
    in_force: bool

    @property
    def value(self) -> str:
        """The number, or that there is none."""
        return "none" if self.threshold.value is None else f"{self.threshold.value:.4g}"

    @property
    def promise(self) -> str:
        """What it promises, or why it promises nothing."""
        t = self.threshold
        if t.low is None or t.high is None:
            return t.note
        expected = f"expected range {percent(t.low)} to {percent(t.high)}"
        return f"{expected}; {t.note}" if t.note else expected

    @property
    def tried(self) -> str:
        """How often the other half was above."""
        a = self.threshold.achieved
        if a is None:
            return "not tried"
        return f"{a.above} of {a.n} others above: {percent(a.above / a.n)} ({percent(a.low)} to {percent(a.high)})"


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        calibration: that is written.
        why: its scoring was chosen.
        behind, others: patients who set thresholds, and who tried them.
        pictures: of all these patients, the fewest and the most of one.
        ways: all thresholds, by unit and way.
        scores: of the healthy patients of both halves, by unit.
        run: what the consortium's run has found at this site, in lines; none where it wasn't there.
        drift: of them against the consortium's; None where there is nothing to compare with.
        warnings: that a person should look at, of images and scores; `warned` has those of thresholds, too.
        remarks: that a person should know.
    """

    calibration: Calibration
    why: str
    behind: int
    others: int
    pictures: tuple[int, int]
    ways: dict[Unit, dict[Way, ImageThreshold]]
    scores: dict[Unit, NDArray[np.float64]]
    run: tuple[str, ...]
    drift: Drift | None
    warnings: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def units(self) -> tuple[Unit, ...]:
        """Those that differ: where each patient has one picture, both are the same."""
        return ("slice",) if self.pictures == (1, 1) else ("slice", "study")

    @property
    def rows(self) -> list[ThresholdRow]:
        """All thresholds of these units."""
        force: dict[Unit, ImageThreshold] = {"slice": self.calibration.slice, "study": self.calibration.study}
        return [
            ThresholdRow(unit, threshold, threshold.value is not None and threshold == force[unit])
            for unit in self.units
            for threshold in self.ways[unit].values()
        ]

    @property
    def undecided(self) -> str:
        """Where there will be no decisions, a line that says so loudly; else empty."""
        lacking = [unit for unit in self.units if self.calibration.threshold(unit == "study").value is None]
        if not lacking:
            return ""
        first = self.calibration.threshold(lacking[0] == "study")
        half = f" (about half of them set thresholds: about {patients_lacking(first.n, first.rate, 0.5)} more would do)"
        return (
            f"NO DECISIONS on {' and on '.join(WHAT[unit] for unit in lacking)}: {first.note}"
            f"{half if first.way == 'local' else ''}. Scores and maps will be there, decisions will not."
        )

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Names and values, without those of thresholds."""
        c = self.calibration
        fewest, most = self.pictures
        several = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        return [
            ("site", c.site),
            ("model", c.model_hash[:16]),
            ("scoring", f"{c.scoring.name}: {self.why}"),
            ("healthy patients", f"{self.behind} set the thresholds, {self.others} others tried them"),
            ("pictures of a patient", several),
            ("false alarms asked", asked(c.slice.rate)),
            ("pixels", self._pixels),
            ("against the consortium", self._drifted),
            *(("in the consortium's run", line) for line in self.run),
        ]

    @property
    def warned(self) -> list[str]:
        """All warnings, those too of thresholds in force that surely don't achieve the rate asked."""
        broken = {row: more_than_asked(row.threshold.achieved, row.threshold.rate) for row in self.rows if row.in_force}
        return [*self.warnings, *(f"{WHAT[row.unit]}: {row.tried}, {told}" for row, told in broken.items() if told)]

    def lines(self) -> Iterator[str]:
        """For a terminal: counts and numbers, no name of a patient or file."""
        for name, value in self.facts:
            yield f"{name}: {value}"
        for unit in self.units:
            yield f"{WHAT[unit]}:"
            for row in (row for row in self.rows if row.unit == unit):
                mark = "*" if row.in_force else " "
                yield f"  {mark} {row.threshold.way:8}  above {row.value}; {row.promise}; {row.tried}"
        if any(row.in_force for row in self.rows):
            yield "  * decides"
        yield from (f"warning: {warning}" for warning in self.warned)
        yield from self.remarks
        if self.undecided:
            yield self.undecided
        yield NOTHING_SENT

    @property
    def _pixels(self) -> str:
        p = self.calibration.pixel
        promise = f"asked at most {asked(p.rate)} of a healthy patient's pixels, on average"
        return "; ".join(filter(None, (f"above {self.calibration.flagged_above:.4g}: {promise}", p.note)))

    @property
    def _drifted(self) -> str:
        d = self.drift
        if d is None:
            return "nothing to compare the scores with"
        told = f"{d.told_ks}, chance {d.ks_p:.2g}; PSI {d.psi:.2f}, chance {d.psi_p:.2g}"
        return f"scores {'differ' if differs(d) else 'do not surely differ'}: {told}"


def differs(found: Drift) -> bool:
    """Whether scores are surely, and by more than a little, others than the consortium's; two tests are made."""
    return 2 * min(found.ks_p, found.psi_p) < SURE and max(found.psi, found.ks) >= NOTABLE
