"""Which pretrained network: of scores, and of methods that look at images through one."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from ra_core.settings import Config

__all__ = ["PerceptualConfig"]


class PerceptualConfig(Config):
    """The pretrained network behind LPIPS."""

    net: Literal["alex", "vgg", "squeeze"] = Field("alex", description="backbone; the authors scored with squeeze")
    weights: Path | None = Field(None, description="file with the backbone's weights; searched for when empty")
