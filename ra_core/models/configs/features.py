"""Settings of methods that measure how far the features of a pretrained network are from those of healthy images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from ra_core.models.configs.base import MethodSettings
from ra_core.models.configs.perceptual import CHANNELS, Levels, Net, PerceptualConfig, check_levels

__all__ = ["FeatureSettings", "FlowConfig", "PaDiMConfig", "PatchCoreConfig"]


class FeatureSettings(MethodSettings):
    """What methods that look at images through a pretrained network have in common.

    The network is named, not given: each machine has it in one of the places where weights are looked for, whose files
    are checked. A path would be the hospital's own business, and has no place in a study or in a model's card.
    """

    reconstructs: ClassVar[bool] = False

    net: Net = Field("alex", description="pretrained network, LPIPS' backbone; frozen")
    side: int = Field(224, ge=32, le=1024, description="side in pixels to which images are brought for the network")
    levels: Levels = Field(
        (0, 1, 2), min_length=1, description="which of its feature maps are looked at, 0 is the finest"
    )
    grid: int = Field(16, ge=2, le=128, description="side of the grid of places that features are brought to")
    smooth: float = Field(4.0, ge=0, description="sigma of a blur of the map, in 1/224 of the side")

    @property
    def perceptual(self) -> PerceptualConfig:
        """The network, to be looked for on this machine."""
        return PerceptualConfig(net=self.net)

    @property
    def available(self) -> int:
        """Channels of all levels looked at."""
        return sum(CHANNELS[self.net][level] for level in self.levels)

    @model_validator(mode="after")
    def _levels_are_the_networks(self) -> FeatureSettings:
        check_levels(self.net, self.levels)
        return self


class _Selected(FeatureSettings):
    """Methods that look at some of the channels."""

    channels: int = Field(100, ge=1, description="channels looked at, drawn once and for all of those of the levels")

    @model_validator(mode="after")
    def _channels_are_there(self) -> _Selected:
        if self.channels > self.available:
            raise ValueError(f"channels {self.channels} are more than the {self.available} of levels in '{self.net}'")
        return self


class PaDiMConfig(_Selected):
    """PaDiM: how unusual features are at their place, by the Gaussian of healthy images there.

    A model is grid² x channels² numbers: 10 MB in `small`, 127 MB in `paper`. `paper` has the authors' grid, channels
    and regularisation, on VGG instead of a residual network.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "small": {},
        "paper": {"net": "vgg", "levels": (1, 2, 3), "grid": 56},
    }
    source: ClassVar[str] = "Defard et al. 2021, arXiv 2011.08785"
    parts: ClassVar[tuple[str, ...]] = ("moments",)
    fitted: ClassVar[bool] = True

    name: Literal["padim"] = Field("padim", description="the method")
    regularise: float = Field(
        0.01, gt=0, description="added to all variances, as a share of the mean variance of features over all places"
    )


class PatchCoreConfig(FeatureSettings):
    """PatchCore: how far features are from the nearest of a bank of healthy ones.

    `paper` has the authors' levels and share, on VGG instead of a residual network.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "small": {},
        "paper": {
            "net": "vgg",
            "levels": (2, 3),
            "grid": 28,
            "share": 0.1,
            "largest_bank": 20000,
            "candidates": 200000,
        },
    }
    source: ClassVar[str] = "Roth et al. 2022, arXiv 2106.08265"
    parts: ClassVar[tuple[str, ...]] = ()
    fitted: ClassVar[bool] = True
    local_only: ClassVar[str] = "its bank holds features of single training images, which may not leave their site"

    name: Literal["patchcore"] = Field("patchcore", description="the method")
    levels: Levels = Field((1, 2), min_length=1, description="which of its feature maps are looked at, 0 is the finest")
    neighbourhood: int = Field(3, ge=1, le=15, description="side in places of the mean over neighbours; odd")
    share: float = Field(0.1, gt=0, le=1, description="of the candidates, kept in the bank")
    candidates: int = Field(20_000, ge=1, description="features drawn from all images to choose the bank from, at most")
    largest_bank: int = Field(2000, ge=1, description="features in the bank, at most")
    projection: int = Field(128, ge=1, description="dimensions in which candidates are compared")

    @model_validator(mode="after")
    def _neighbourhood_has_a_middle(self) -> PatchCoreConfig:
        if self.neighbourhood % 2 == 0:
            raise ValueError(f"neighbourhood {self.neighbourhood} is even and has no middle")
        return self


class FlowConfig(_Selected):
    """Normalizing flow: how unlikely features are at their place, by a density learned from healthy images.

    CFLOW with one flow for all levels. `paper` has the authors' depth and position encoding, on VGG.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "small": {},
        "paper": {
            "net": "vgg",
            "levels": (1, 2, 3),
            "grid": 56,
            "channels": 256,
            "blocks": 8,
            "hidden": 512,
            "position": 128,
            "learning_rate": 2e-4,
        },
    }
    source: ClassVar[str] = "Gudovskiy et al. 2022, arXiv 2107.12571"
    parts: ClassVar[tuple[str, ...]] = ("flow",)
    libraries: ClassVar[tuple[str, ...]] = ("zuko",)

    name: Literal["flow"] = Field("flow", description="the method")
    channels: int = Field(64, ge=2, description="channels looked at, drawn once and for all of those of the levels")
    blocks: int = Field(4, ge=2, description="affine coupling blocks")
    hidden: int = Field(128, ge=1, description="width of the two hidden layers of each block's network")
    position: int = Field(32, ge=4, multiple_of=4, description="numbers that encode a place")
    learning_rate: float = Field(1e-3, gt=0, description="Adam")

    def rate(self, step: int) -> float:  # noqa: ARG002
        """One for all steps."""
        return self.learning_rate
