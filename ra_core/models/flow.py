"""Normalizing flow: a density of healthy features, given their place, and how unlikely an image's features are."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Transform
from torch.optim import Optimizer
from zuko.flows import NICE
from zuko.transforms import MonotonicAffineTransform

from ra_core.models.blocks import means
from ra_core.models.configs.features import FlowConfig
from ra_core.models.configs.perceptual import CHANNELS
from ra_core.models.features import FeatureDetector, drawn_channels
from ra_core.models.method import GradientMethod, StepState

__all__ = ["FlowDetector", "encoded_places"]

LARGEST_LOG_SCALE = 1.9
"""Of one block, either way, as the authors clamp it: no density runs away where a feature never varies."""


class FlowDetector(FeatureDetector, GradientMethod):
    """CFLOW (Gudovskiy et al. 2022, arXiv 2107.12571), with one flow for the features of all levels together.

    Blocks are affine couplings (Dinh et al. 2017, arXiv 1605.08803) that see where a feature is.
    """

    config: FlowConfig

    def __init__(self, config: FlowConfig, size: int) -> None:  # noqa: ARG002
        super().__init__(config)
        widths = torch.tensor([CHANNELS[config.net][level] for level in config.levels])
        drawn = drawn_channels(config.available, config.channels)
        self.register_buffer("channels", drawn, persistent=False)
        # Features have unit length: times this, their mean square over a level's channels is 1.
        self.register_buffer("scales", widths.repeat_interleave(widths).sqrt()[drawn], persistent=False)
        self.register_buffer("places", encoded_places(config.grid, config.position), persistent=False)
        self.channels: Tensor
        self.scales: Tensor
        self.places: Tensor
        self.flow = NICE(
            config.channels,
            config.position,
            transforms=config.blocks,
            univariate=_affine,
            hidden_features=(config.hidden, config.hidden),
        )
        for module in self.flow.modules():  # constants: they are made anew, and are no state of a site
            for name, constant in list(module.named_buffers(recurse=False)):
                module.register_buffer(name, constant, persistent=False)

    def shared_parts(self) -> dict[str, nn.Module]:
        """The flow."""
        return {"flow": self.flow}

    def optimizers(self) -> dict[str, Optimizer]:
        """One Adam."""
        return self.adams(lr=self.config.learning_rate)

    def training_step(self, batch: Tensor, state: StepState) -> dict[str, float]:
        """Up the mean log-likelihood of all places of all images."""
        features = self._features(batch)
        with state.autocast():
            likelihood = self._log_likelihood(features).mean()
        state.descend("log_likelihood", -likelihood, "flow")
        return means(log_likelihood=likelihood)

    def distance(self, x: Tensor) -> Tensor:
        """Negative log-likelihood in nats per feature, softened: (N, 1, H, W) -> the same.

        Densities have no upper bound, so it may be negative; log(1 + exp(.)) keeps its order and is above 0, about the
        same where it is large.
        """
        return self.enlarged(F.softplus(-self._log_likelihood(self._features(x))), x)

    def _features(self, x: Tensor) -> Tensor:
        """(N, P, C)."""
        return self.look(x)[:, :, self.channels] * self.scales

    def _log_likelihood(self, features: Tensor) -> Tensor:
        """Of each place, in nats per feature: (N, P, C) -> (N, P) float32."""
        places = self.places.expand(len(features), -1, -1)
        found: Tensor = self.flow(places).log_prob(features)
        return found / self.config.channels


def encoded_places(grid: int, count: int) -> Tensor:
    """Sines and cosines of row and column, at wavelengths from 2π to 10,000 · 2π places: (grid², count) in [-1, 1].

    As of Vaswani et al. 2017, arXiv 1706.03762, half of the numbers for each coordinate; places are row by row.

    Args:
        grid: side of the grid.
        count: of numbers, a multiple of 4.
    """
    rates = torch.exp(-math.log(10_000) * torch.arange(count // 4) / (count // 4))
    angles = torch.arange(grid)[:, None] * rates  # (grid, count / 4)
    line = torch.cat([angles.sin(), angles.cos()], 1)
    rows = line[:, None].expand(-1, grid, -1)
    columns = line[None].expand(grid, -1, -1)
    return torch.cat([rows, columns], 2).flatten(0, 1)


def _affine(shift: Tensor, scale: Tensor) -> Transform:
    """In float32, also where the networks that give both are not."""
    found: Transform = MonotonicAffineTransform(shift.float(), scale.float(), slope=math.exp(-LARGEST_LOG_SCALE))
    return found
