"""U-Net: an image to an image, with what each size of the way down has seen at hand on the way up.

References:
    Ronneberger et al., "U-Net", MICCAI 2015, arXiv 1505.04597.
    Qiao et al., "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization", arXiv 1903.10520.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["UNet"]


class StandardisedConv2d(nn.Conv2d):
    """A convolution whose filters have mean 0 and spread 1 each, whatever its weights are."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H', W')."""
        centred = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        spread = centred.std((1, 2, 3), keepdim=True) + 1e-5
        out: Tensor = self._conv_forward(x, centred / spread, self.bias)
        return out


class UNet(nn.Module):
    """(N, 1, S, S) -> (N, 1, S, S), unbounded; S is a multiple of 2 to the power of the number of widths less 1.

    At each size two convolutions (3 x 3, standardised weights, SiLU, GroupNorm of about √C groups); average pooling on
    the way down, a transposed convolution on the way up, beside which what the way down saw at that size is put.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.down = nn.ModuleList(_two_convolutions(a, b) for a, b in pairwise((1, *widths)))
        steps = list(pairwise(widths[::-1]))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in steps)
        self.up = nn.ModuleList(_two_convolutions(2 * b, b) for _, b in steps)
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        h = self.down[0](x)
        seen = []
        for block in self.down[1:]:
            seen.append(h)
            h = block(F.avg_pool2d(h, 2))
        for enlarge, block in zip(self.enlarge, self.up, strict=True):
            h = block(torch.cat([enlarge(h), seen.pop()], dim=1))
        out: Tensor = self.head(h)
        return out


def _two_convolutions(c_in: int, c_out: int) -> nn.Sequential:
    groups = next(count for count in range(1, c_out + 1) if c_out % count == 0 and count**2 >= c_out)
    # Replicated edges rather than reflected ones, which CUDA can't differentiate deterministically.
    return nn.Sequential(
        StandardisedConv2d(c_in, c_out, 3, padding=1, padding_mode="replicate"),
        nn.SiLU(),
        nn.GroupNorm(groups, c_out),
        StandardisedConv2d(c_out, c_out, 3, padding=1, padding_mode="replicate"),
        nn.SiLU(),
        nn.GroupNorm(groups, c_out),
    )
