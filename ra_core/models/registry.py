"""From the settings of a method to the method itself."""

import torch

from ra_core.models.method import GradientMethod
from ra_core.models.ra import RA
from ra_core.models.ra_config import RAConfig
from ra_core.rng import derive_seed

__all__ = ["build_method"]


def build_method(config: RAConfig, size: int, seed: int) -> GradientMethod:
    """A method with fresh weights that depend on settings and seed alone.

    Args:
        config: the method's settings; their class decides the method.
        size: side of the square images.
        seed: of the initial weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "initial weights"))
        return RA(config, size)
