"""Which pretrained network: of scores, and of methods that look at images through one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ra_core.settings import Config

__all__ = ["CHANNELS", "Levels", "Net", "PerceptualConfig", "check_levels"]

Net = Literal["alex", "vgg", "squeeze"]
"""Backbones of LPIPS."""

Levels = tuple[Annotated[int, Field(ge=0)], ...]
"""Which of a network's feature maps, 0 is the finest."""

CHANNELS: dict[Net, tuple[int, ...]] = {
    "alex": (64, 192, 384, 256, 256),
    "vgg": (64, 128, 256, 512, 512),
    "squeeze": (64, 128, 256, 384, 384, 512, 512),
}
"""By network, channels of each of the feature maps that LPIPS looks at, finest first."""


class PerceptualConfig(Config):
    """The pretrained network behind LPIPS."""

    net: Net = Field("alex", description="backbone; the authors scored with squeeze")
    weights: Path | None = Field(None, description="file with the backbone's weights; searched for when empty")


def check_levels(net: Net, levels: Sequence[int]) -> None:
    """Refuse levels that the network doesn't have, or that are named twice.

    Raises:
        ValueError: says which there are.
    """
    there = len(CHANNELS[net])
    if max(levels) >= there or len(set(levels)) < len(levels):
        raise ValueError(f"levels {list(levels)} are not different ones of 0 to {there - 1} of '{net}'")
