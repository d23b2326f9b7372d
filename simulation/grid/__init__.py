"""A study: methods x ways to train x seeds, each a cell with a small file of its own, measured at every site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulation.grid.config import GridConfig

if TYPE_CHECKING:
    from simulation.grid.run import Grid

__all__ = ["Grid", "GridConfig"]


def __getattr__(name: str) -> Any:
    """`Grid` brings torch along, so it is imported when first asked for."""
    if name != "Grid":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from simulation.grid.run import Grid  # noqa: PLC0415

    return Grid
