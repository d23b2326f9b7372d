"""A study: methods x ways to train x seeds, each a cell with a small file of its own, measured at every site."""

from simulation.grid.config import GridConfig
from simulation.grid.run import Grid

__all__ = ["Grid", "GridConfig"]
