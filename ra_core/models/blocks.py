"""Building blocks that several methods share."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ra_core.models.norms import Norm

__all__ = [
    "FrozenBatchNorm2d",
    "GroupNorm",
    "ResidualBlock",
    "enlarge",
    "layout",
    "means",
    "norm_layer",
    "normed",
    "shrink",
]


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm that always uses its initial running statistics (mean 0, variance 1), in training too."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.eval()

    def train(self, mode: bool = True) -> "FrozenBatchNorm2d":  # noqa: ARG002
        """Stay in evaluation mode whatever is asked."""
        super().train(False)
        return self

    def after(self, convolution: nn.Conv2d, x: Tensor) -> Tensor:
        """What it makes of a convolution without bias, whose filters get its scale and shift: no pass over whole maps.

        (N, C_in, H, W) -> (N, C, H', W').
        """
        mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        scale = self.weight / (variance + self.eps).sqrt()
        shift = self.bias - mean * scale
        filters = convolution.weight * scale.view(-1, 1, 1, 1)
        return F.conv2d(x, filters, shift, convolution.stride, convolution.padding)


class GroupNorm(nn.GroupNorm):
    """GroupNorm of maps that lie channels-last: (N, C, H, W) -> the same, computed plane by plane.

    Over channels-last maps of few channels torch's own backward pass takes several times as long (docs/performance.md).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise."""
        out = super().forward(x.contiguous())
        return out.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # vmap knows no `memory_format`


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """A normalisation layer for (N, channels, H, W)."""
    if norm == "group":
        return GroupNorm(math.gcd(8, channels), channels)  # groups must divide the channels
    return FrozenBatchNorm2d(channels) if norm == "frozen_batch" else nn.BatchNorm2d(channels)


def normed(convolution: nn.Conv2d, norm: nn.Module, x: Tensor) -> Tensor:
    """A convolution without bias and its normalisation: (N, C_in, H, W) -> (N, C, H', W')."""
    if isinstance(norm, FrozenBatchNorm2d):
        return norm.after(convolution, x)
    out: Tensor = norm(convolution(x))
    return out


class ResidualBlock(nn.Module):
    """conv3-norm-LeakyReLU-conv3-norm, added to the identity, then LeakyReLU 0.2: (N, C_in, H, W) -> (N, C_out, H, W).

    Convolutions have no bias; a 1 x 1 convolution stands on the skip where the widths differ.
    """

    def __init__(self, c_in: int, c_out: int, norm: Norm) -> None:
        super().__init__()
        self.skip = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1, bias=False)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
        self.norm1 = norm_layer(norm, c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.norm2 = norm_layer(norm, c_out)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        h = F.leaky_relu(normed(self.conv1, self.norm1, x), 0.2)
        h = normed(self.conv2, self.norm2, h)
        return F.leaky_relu(h + self.skip(x), 0.2)


def layout(widths: Sequence[int]) -> torch.memory_format:
    """How a U-Net lies in memory: channels-last where widths are enough to gain from it (docs/performance.md)."""
    return torch.channels_last if widths[0] >= 64 else torch.contiguous_format


def shrink(x: Tensor, side: int) -> Tensor:
    """Area average: (N, C, S, S) -> (N, C, side, side)."""
    return F.interpolate(x, size=(side, side), mode="area")


def enlarge(low: Tensor, like: Tensor) -> Tensor:
    """Bilinear interpolation to the height and width of `like`."""
    return F.interpolate(low, size=like.shape[-2:], mode="bilinear", align_corners=False)


def means(**terms: Tensor) -> dict[str, float]:
    """Loss terms as numbers, each averaged over the batch."""
    return {name: float(value.detach().mean()) for name, value in terms.items()}
