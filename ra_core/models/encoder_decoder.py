"""Encoder and decoder of the Reversed Autoencoder and its relatives, and what methods made of the two have in common.

No skips lead from one to the other: all that is drawn has been through the code.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from ra_core.models.blocks import ResidualBlock, norm_layer, normed
from ra_core.models.configs import EncoderDecoderSettings
from ra_core.models.method import GradientMethod, Reconstruction

__all__ = ["Decoder", "Encoder", "EncoderDecoder", "GaussianEncoder"]


class _Halving(nn.Module):
    """(N, 1, S, S) -> `numbers` for each image, or for each place of the smallest map where it is spatial."""

    def __init__(self, config: EncoderDecoderSettings, size: int, numbers: int, spatial: bool = False) -> None:
        super().__init__()
        widths = config.channels
        first = nn.Conv2d(1, widths[0], 5, padding=2, bias=False)
        self.stem = nn.ModuleList([first, norm_layer(config.norm, widths[0])])
        pairs = pairwise(widths)
        self.blocks = nn.ModuleList(ResidualBlock(a, b, config.norm) for a, b in pairs)
        self.last = ResidualBlock(widths[-1], widths[-1], config.norm)
        side = size // 2 ** len(widths)
        self.spatial = spatial
        self.head = nn.Conv2d(widths[-1], numbers, 1) if spatial else nn.Linear(widths[-1] * side * side, numbers)

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The numbers, (N, numbers) or (N, numbers, s, s), and the embeddings after each pooling, fine to coarse."""
        h = F.leaky_relu(normed(cast(nn.Conv2d, self.stem[0]), self.stem[1], x), 0.2)
        h = F.avg_pool2d(h, 2)  # (N, C_0, S/2, S/2)
        embeddings = [h]
        for block in self.blocks:
            h = F.avg_pool2d(block(h), 2)  # halves the side each time
            embeddings.append(h)
        h = self.last(h)
        return self.head(h if self.spatial else h.flatten(1)), embeddings


class Encoder(_Halving):
    """(N, 1, S, S) -> code, (N, Z) or (N, Z, s, s)."""

    def __init__(self, config: EncoderDecoderSettings, size: int, spatial: bool) -> None:
        super().__init__(config, size, config.latent, spatial)

    def forward(self, x: Tensor) -> Tensor:
        """Encode."""
        code, _ = self.encode(x)
        return code


class GaussianEncoder(_Halving):
    """(N, 1, S, S) -> mean and log-variance of q(z|x), each (N, Z), and the embeddings after each pooling."""

    def __init__(self, config: EncoderDecoderSettings, size: int) -> None:
        super().__init__(config, size, 2 * config.latent)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Encode."""
        numbers, embeddings = self.encode(x)
        mu, logvar = numbers.chunk(2, dim=1)
        return mu, logvar, embeddings


class Decoder(nn.Module):
    """(N, Z), or (N, Z, s, s) where it is spatial -> (N, 1, S, S) in [0, 1]."""

    def __init__(self, config: EncoderDecoderSettings, size: int, spatial: bool = False) -> None:
        super().__init__()
        widths = config.channels[::-1]
        side = size // 2 ** len(widths)
        self.shape = (widths[0], side, side)
        self.tail = (
            nn.Conv2d(config.latent, widths[0], 1) if spatial else nn.Linear(config.latent, widths[0] * side * side)
        )
        pairs = zip((widths[0], *widths[:-1]), widths, strict=True)
        self.blocks = nn.ModuleList(ResidualBlock(a, b, config.norm) for a, b in pairs)
        self.last = ResidualBlock(widths[-1], widths[-1], config.norm)
        self.head = nn.Conv2d(widths[-1], 1, 5, padding=2)

    def forward(self, z: Tensor) -> Tensor:
        """Decode."""
        h = F.relu(self.tail(z)).view(-1, *self.shape)
        for block in self.blocks:
            h = F.interpolate(block(h), scale_factor=2, mode="nearest")
        return torch.sigmoid(self.head(self.last(h)))


class EncoderDecoder(Reconstruction, GradientMethod):
    """A method made of an encoder and a decoder, for square grey images.

    Args:
        config: architecture and objective.
        size: side of the images, a multiple of 2 to the power of the number of widths.

    Raises:
        ValueError: the size is none.
    """

    memory_format = torch.channels_last

    def __init__(self, config: EncoderDecoderSettings, size: int) -> None:
        super().__init__()
        config.require_side(size)
        self.config = config
        self.encoder: nn.Module
        self.decoder: nn.Module

    def shared_parts(self) -> dict[str, nn.Module]:
        """Encoder and decoder."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    def optimizers(self) -> dict[str, Optimizer]:
        """One Adam for each part."""
        return self.adams(lr=self.config.learning_rate)
