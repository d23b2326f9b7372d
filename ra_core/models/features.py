"""Pretrained networks for methods that look at images through one: frozen, never shared, loaded once a process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ra_core.errors import WeightsError
from ra_core.models.blocks import enlarge, shrink
from ra_core.models.configs import MethodSettings, PerceptualConfig
from ra_core.models.configs.features import FeatureSettings
from ra_core.models.method import Detector
from ra_core.perceptual import Perceptual
from ra_core.perceptual.network import unit_length
from ra_core.perceptual.weights import find_backbone, ways_to_get
from ra_core.rng import generator
from ra_core.scoring import blur

__all__ = ["FeatureDetector", "drawn_channels", "features_hash", "network_hash", "patch_features", "pretrained"]


@lru_cache(maxsize=4)
def pretrained(config: PerceptualConfig, device: str) -> Perceptual:
    """The network on a device.

    Raises:
        WeightsError: its weights are nowhere on this machine; says where to get them.
    """
    try:
        with torch.inference_mode(False):  # gradients may have to flow through it later, whoever asks first
            return Perceptual.load(config, device)
    except WeightsError as error:
        if find_backbone(config) is not None:
            raise
        raise WeightsError(error.message, ways_to_get(config.net, by_setting=False)) from None


def features_hash(config: MethodSettings) -> str:
    """SHA-256 of the network that a method's results depend on, as this machine has it; empty where there is none.

    Raises:
        WeightsError: its weights are nowhere on this machine; says where to get them.
    """
    return pretrained(config.perceptual, "cpu").digest if isinstance(config, FeatureSettings) else ""


def network_hash(config: MethodSettings) -> str:
    """The same of methods that need a network in training alone, too."""
    network = config.perceptual
    return "" if network is None else pretrained(network, "cpu").digest


def patch_features(network: Perceptual, x: Tensor, levels: Sequence[int], side: int, grid: int) -> Tensor:
    """What a network sees at each place: (N, 1, H, W) in [0, 1] -> (N, C, grid, grid) float32 in [0, 1].

    Features of each level are scaled to unit length over their channels, as LPIPS has them, and brought to the grid.

    Args:
        network: the network.
        x: images.
        levels: which of its feature maps, 0 is the finest.
        side: to which images are brought before.
        grid: side of the grid.
    """
    with torch.no_grad():
        found = network.features(_brought_to(x, side))
        return torch.cat([_brought_to(unit_length(found[level]), grid) for level in levels], 1)


def drawn_channels(available: int, count: int) -> Tensor:
    """Which `count` of the available channels are looked at, ascending: the same on every machine."""
    return torch.randperm(available, generator=generator(0, "channels", available))[:count].sort().values


def _brought_to(x: Tensor, side: int) -> Tensor:
    """Area average where that is smaller, bilinear interpolation where it is larger."""
    if x.shape[-1] >= side:
        return shrink(x, side)
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


class FeatureDetector(Detector):
    """A method that measures a distance at each place of a grid of features.

    The network is no part of it: not in its state, its model file or an update.

    Args:
        config: the method's settings.
    """

    def __init__(self, config: FeatureSettings) -> None:
        super().__init__()
        self.config = config
        self._network: Perceptual | None = None

    def look_through(self, network: Perceptual) -> None:
        """Use this very network, in place of the one that is looked for on the machine."""
        self._network = network

    def look(self, x: Tensor) -> Tensor:
        """Features at each place, row by row: (N, 1, H, W) in [0, 1] -> (N, P, C) on the device of x.

        Raises:
            WeightsError: the network's weights are nowhere on this machine.
        """
        network = self._network or pretrained(self.config.perceptual, str(x.device))
        found = patch_features(network, x, self.config.levels, self.config.side, self.config.grid)
        return found.flatten(2).transpose(1, 2).to(x.device)

    def enlarged(self, distances: Tensor, like: Tensor) -> Tensor:
        """Distances (N, P) of all places as maps (N, 1, H, W), smoothed."""
        low = distances.view(-1, 1, self.config.grid, self.config.grid)
        return blur(enlarge(low, like), self.config.smooth * like.shape[-1] / 224)
