"""Engines run all sites of a study on this machine, through the same apps as in a real federation.

Both give the same bits, and each can go on from the other's checkpoint.
"""

from simulation.engines.flower import run_flower
from simulation.engines.in_process import InProcessGrid, run_in_process
from simulation.engines.node import Node, OnProgress, answered

__all__ = ["InProcessGrid", "Node", "OnProgress", "answered", "run_flower", "run_in_process"]
