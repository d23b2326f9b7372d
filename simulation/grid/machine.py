"""The machine that a study goes on with: all its cells have one precision, wherever they are computed."""

from __future__ import annotations

from collections.abc import Iterable

from ra_core.errors import ResumeError
from ra_core.runtime import Runtime
from simulation.arms import Reporter
from simulation.grid.arms import UNTRAINED
from simulation.grid.config import GridConfig
from simulation.grid.result import CellResult

__all__ = ["machine_for"]


def machine_for(finished: Iterable[CellResult], config: GridConfig, reporter: Reporter) -> Runtime:
    """What this machine computes in: where the study leaves the precision to it, in that of the cells that are there.

    A cell's digest has the precision that the study asks for, not what "auto" came to: so it is looked up.

    Args:
        finished: cells.
        config: of the study.
        reporter: told where this machine by itself would take another precision.

    Raises:
        ConfigError: the device asked for isn't there.
        ResumeError: cells are of two precisions, or of bf16 and this machine would have to emulate it.
    """
    asked = config.study.training.precision
    here = Runtime.resolve(config.runtime, asked)
    found = sorted({str(result.machine["precision"]) for result in finished if result.arm != UNTRAINED})
    if asked != "auto" or found in ([], [here.precision]):
        return here
    if len(found) > 1:
        raise ResumeError(
            f"finished cells are of several precisions: {', '.join(found)}",
            "delete those of all but one (their `machine` tells); they are computed again",
        )
    if here.precision == "fp32":
        raise ResumeError(
            f"finished cells are of {found[0]}, which this machine has no fast instructions for",
            "go on with a machine that has (AMX or AVX512-BF16, or a GPU), or give another --out",
        )
    reporter.say(f"{found[0]}, as in the cells that are finished; this machine by itself would take {here.precision}")
    return Runtime.resolve(config.runtime, "fp32")
