"""Settings of methods that squeeze an image through something narrow and draw it again.

Errors are means per pixel and KL divergences in nats with a weight each, as in `ra_core.losses`: no weight depends on
the size of the images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ra_core.models.configs.base import MethodSettings
from ra_core.models.configs.perceptual import Levels, Net, PerceptualConfig, check_levels
from ra_core.models.norms import Norm

__all__ = [
    "BetaVAEConfig",
    "DAEConfig",
    "EncoderDecoderSettings",
    "IntrospectiveSettings",
    "PerceptualAEConfig",
    "SoftIntroVAEConfig",
    "VAEConfig",
    "VariationalSettings",
]

Widths = tuple[Annotated[int, Field(ge=1)], ...]


class EncoderDecoderSettings(MethodSettings):
    """Settings of all methods whose encoder halves the image with each width and whose decoder doubles it."""

    has_norms: ClassVar[bool] = True

    channels: Widths = Field((16, 32, 64, 128, 128), min_length=2, description="widths, from fine to coarse")
    latent: int = Field(128, ge=1, description="size of the latent vector")
    norm: Norm = Field("group", description="group, frozen_batch (the authors' code) or batch")
    learning_rate: float = Field(1e-3, gt=0, description="Adam, encoder and decoder")

    def rate(self, step: int) -> float:  # noqa: ARG002
        """One for all steps."""
        return self.learning_rate

    @property
    def side_multiple(self) -> int:
        """Each width halves the image."""
        return int(2 ** len(self.channels))


class VariationalSettings(EncoderDecoderSettings):
    """Settings of all methods whose latent has a posterior."""

    w_rec: float = Field(0.5, gt=0, description="weight of the mean squared error per pixel")
    w_kl: float = Field(0.15 / 4096, ge=0, description="weight of a nat of KL of real images")

    @property
    def why_not_private(self) -> str:
        """What a batch norm makes of an image depends on the others."""
        return "" if self.norm != "batch" else "method.norm batch mixes patients: take group or frozen_batch"

    def releases(self, start: int, stop: int) -> int:
        """One a step: encoder and decoder together."""
        return stop - start


class IntrospectiveSettings(VariationalSettings):
    """Settings of variational autoencoders whose encoder and decoder play against each other."""

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "small": {},
        "paper": {
            "channels": (64, 128, 256, 512, 512),
            "norm": "frozen_batch",
            "w_kl": 1 / 16384,
            "w_neg": 128 / 16384,
            "learning_rate": 5e-5,
            "warmup_steps": 0,
        },
    }

    w_neg: float = Field(96 / 4096, gt=0, description="weight of a nat of KL of generated images in the encoder's push")
    # The authors' 1e-8 adds less to a gradient than float32 rounds away, and costs a fifth of a step: docs/method.md.
    gamma_r: float = Field(0.0, ge=0, description="weight of the generated images' errors in the decoder's loss")
    learning_rate: float = Field(3e-4, gt=0, description="Adam, encoder and decoder, introspective phase")
    warmup_steps: int = Field(2000, ge=0, description="first steps as a plain VAE: introspection wants good decoding")
    warmup_learning_rate: float = Field(1e-3, gt=0, description="Adam, during the warm-up")

    def rate(self, step: int) -> float:
        """The warm-up has its own."""
        return self.warmup_learning_rate if step < self.warmup_steps else self.learning_rate

    @property
    def unselectable_steps(self) -> int:
        """The warm-up: only weights from the introspective phase are what the method's name says."""
        return self.warmup_steps

    def releases(self, start: int, stop: int) -> int:
        """One a step of the warm-up, then two: the encoder's and the decoder's, each of patients of its own."""
        return stop - start + max(stop - max(start, self.warmup_steps), 0)


class SoftIntroVAEConfig(IntrospectiveSettings):
    """Soft-IntroVAE: a variational autoencoder that tells real from generated images by their KL; RA without its term.

    Sizes, weights and presets are those of `ra`: what differs is the reversed embedding similarity alone.
    """

    source: ClassVar[str] = "Daniel and Tamar 2021, arXiv 2012.13253"

    name: Literal["soft_intro_vae"] = Field("soft_intro_vae", description="the method")


class VAEConfig(VariationalSettings):
    """Variational autoencoder: an image drawn from the mean of its posterior over a short latent vector.

    `small` is what `ra` is in its warm-up. `paper` has a Gaussian likelihood of spread 1 at 128 x 128, the RA paper's
    baseline: one nat weighs as much as half a squared error summed over all pixels.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "small": {},
        "paper": {
            "channels": (16, 32, 64, 256, 256),
            "latent": 256,
            "w_kl": 1 / 16384,
            "learning_rate": 5e-4,
        },
    }
    source: ClassVar[str] = "Kingma and Welling 2014, arXiv 1312.6114; as a baseline, Zimmerer et al. 2019"

    name: Literal["vae"] = Field("vae", description="the method")
    late_from: int | None = Field(
        None, ge=0, description="steps at learning_rate, before late_learning_rate; null: one rate to the end"
    )
    late_learning_rate: float | None = Field(
        None, gt=0, description="Adam, from step late_from on: with `ra`'s two rates, what differs is not the rate"
    )

    @model_validator(mode="after")
    def _late_rate_has_a_beginning(self) -> VAEConfig:
        if (self.late_from is None) != (self.late_learning_rate is None):
            raise ValueError("late_from and late_learning_rate belong together: give both or neither")
        return self

    def rate(self, step: int) -> float:
        """The late one from `late_from` on."""
        if self.late_from is None or self.late_learning_rate is None or step < self.late_from:
            return self.learning_rate
        return self.late_learning_rate


class BetaVAEConfig(VariationalSettings):
    """Beta-VAE: a variational autoencoder whose latent may hold so many nats and no more.

    Type B (Burgess et al.) pulls the mean KL to a capacity that grows, type H (Higgins et al.) makes KL beta times as
    heavy. The numbers are those of the RA authors' chest baseline, where a mean squared error weighs 1 and a nat 0.008;
    here both are halved, with `w_rec` at 0.5 as elsewhere. Their type is B, in which beta has no effect.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "small": {},
        "paper": {"channels": (32, 32, 32, 32, 32), "learning_rate": 5e-4, "capacity_steps": 100_000},
    }
    source: ClassVar[str] = "Higgins et al. 2017, ICLR; Burgess et al. 2018, arXiv 1804.03599"

    name: Literal["beta_vae"] = Field("beta_vae", description="the method")
    latent: int = Field(32, ge=1, description="size of the latent vector")
    w_kl: float = Field(0.004, ge=0, description="weight of a nat of KL, before beta or gamma")
    objective: Literal["B", "H"] = Field("B", description="B: gamma |KL - capacity|; H: beta KL")
    beta: float = Field(4.0, ge=0, description="H: factor on the KL")
    gamma: float = Field(2.0, ge=0, description="B: factor on the distance of the mean KL from the capacity")
    capacity: float = Field(50.0, ge=0, description="B: nats that the latent may hold at last")
    capacity_steps: int = Field(2000, ge=1, description="B: steps in which the capacity grows from 0 to that")

    @property
    def why_not_private(self) -> str:
        """The distance of a mean from something is no mean of distances."""
        if self.objective == "B":
            return "method.objective B compares the mean KL of a batch, which mixes patients: take H"
        return super().why_not_private


class DAEConfig(MethodSettings):
    """Denoising autoencoder: a U-Net takes coarse noise off healthy images, and off sick ones what looks like it.

    `small` has the authors' squared error and optimizer on a quarter of their widths; `paper` the RA authors' L1.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "small": {},
        "paper": {
            "channels": (64, 128, 256, 512),
            "error": "absolute",
            "learning_rate": 1e-4,
            "schedule_steps": 3200,
        },
    }
    source: ClassVar[str] = "Kascenas et al. 2022, MIDL, PMLR 172"
    parts: ClassVar[tuple[str, ...]] = ("unet",)
    has_norms: ClassVar[bool] = True

    name: Literal["dae"] = Field("dae", description="the method")
    channels: Widths = Field((16, 32, 64, 128), min_length=2, description="widths, from fine to coarse")
    noise_std: float = Field(0.2, gt=0, description="spread of the noise, where an image ranges over 0 to 1")
    noise_side: int = Field(16, ge=2, description="side of the grid of noise, which is enlarged to the image")
    error: Literal["squared", "absolute"] = Field("squared", description="error per pixel that is made small")
    learning_rate: float = Field(1e-3, gt=0, description="Adam, at its highest")
    schedule_steps: int = Field(
        4000, ge=0, description="steps in which the rate falls to 0 along a cosine, to rise again after; 0: it stays"
    )

    def rate(self, step: int) -> float:
        """Down and up a cosine of half period `schedule_steps`; no total has to be known."""
        if not self.schedule_steps:
            return self.learning_rate
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * step / self.schedule_steps))

    @property
    def side_multiple(self) -> int:
        """Each width but the first halves the image."""
        return int(2 ** (len(self.channels) - 1))


class PerceptualAEConfig(EncoderDecoderSettings):
    """Autoencoder with a perceptual loss: its drawing has to look like the image to a network trained on photographs.

    `paper` is the authors' loss, features alone, on VGG16's relu4_3 where they have VGG19's relu4_2 (or relu3_2), with
    the widths and rates of the MedIAnomaly benchmark. The features are not scaled by their spread over ImageNet.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "small": {},
        "paper": {"channels": (16, 32, 64, 64), "norm": "batch", "net": "vgg", "levels": (3,), "w_rec": 0.0},
    }
    source: ClassVar[str] = "Shvetsova et al. 2021, arXiv 2006.13265"

    name: Literal["ae_perceptual"] = Field("ae_perceptual", description="the method")
    latent: int = Field(16, ge=1, description="numbers of the code: of a vector's, of each place in a spatial one")
    bottleneck: Literal["vector", "spatial"] = Field(
        "vector", description="vector: one code an image; spatial: one for each place of the smallest map"
    )
    epsilon: float = Field(
        0.0,
        ge=0,
        description="codes in 0 to 1 get Laplace noise of scale 1/epsilon in training (QBAE has 10); 0: plain codes",
    )
    net: Net = Field("alex", description="pretrained network whose features are compared")
    levels: Levels = Field(
        (0, 1, 2, 3, 4), min_length=1, description="which of its feature maps, from fine to coarse, all weighted alike"
    )
    w_rec: float = Field(1.0, ge=0, description="weight of the mean squared error per pixel")
    w_perceptual: float = Field(0.1, gt=0, description="weight of the features' relative difference")

    @property
    def perceptual(self) -> PerceptualConfig:
        """The network, to be looked for on this machine."""
        return PerceptualConfig(net=self.net)

    @model_validator(mode="after")
    def _levels_are_the_networks(self) -> PerceptualAEConfig:
        check_levels(self.net, self.levels)
        return self
