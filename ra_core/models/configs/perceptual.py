"""Which pretrained network: of scores, and of methods that look at images through one."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from ra_core.settings import Config

__all__ = ["CHANNELS", "PerceptualConfig"]

CHANNELS = {
    "alex": (64, 192, 384, 256, 256),
    "vgg": (64, 128, 256, 512, 512),
    "squeeze": (64, 128, 256, 384, 384, 512, 512),
}
"""By network, channels of each of the feature maps that LPIPS looks at, finest first."""


class PerceptualConfig(Config):
    """The pretrained network behind LPIPS."""

    net: Literal["alex", "vgg", "squeeze"] = Field("alex", description="backbone; the authors scored with squeeze")
    weights: Path | None = Field(None, description="file with the backbone's weights; searched for when empty")
