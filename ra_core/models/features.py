"""Pretrained networks for methods that look at images through one: frozen, never shared, loaded once a process."""

from functools import lru_cache

from ra_core.models.configs import PerceptualConfig
from ra_core.perceptual import Perceptual

__all__ = ["pretrained"]


@lru_cache(maxsize=4)
def pretrained(config: PerceptualConfig, device: str) -> Perceptual:
    """The network on a device.

    Raises:
        WeightsError: its weights are nowhere on this machine; says where to get them.
    """
    return Perceptual.load(config, device)
