"""A study: methods x ways to train x seeds, each a cell with a small file of its own, measured at every site."""

from simulation.grid.config import GridConfig

__all__ = ["GridConfig"]
