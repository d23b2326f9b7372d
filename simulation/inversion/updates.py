"""Updates as a site sends them, made by the code that trains there."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ra_core.config import AugmentationConfig, PrivacyConfig, RuntimeConfig, TrainingConfig
from ra_core.data import HeldImages
from ra_core.fixed_point import decode, encode
from ra_core.models.configs import RAConfig
from ra_core.models.ra import RA
from ra_core.models.registry import build_method
from ra_core.privacy.accounting import Releases, epsilon_of
from ra_core.privacy.randomness import Randomness
from ra_core.privacy.steps import PrivateSteps
from ra_core.runtime import Runtime
from ra_core.training import LocalTrainer

__all__ = ["DELTA", "SCENARIOS", "Scenario", "first_model", "sent"]

DELTA = 1e-5


@dataclass(frozen=True)
class Scenario:
    """What a site does before it sends.

    Attributes:
        name: in table and picture.
        images: in its batch.
        steps: in the round.
        warmup: whether they are plain VAE steps; else the encoder also judges generated images.
        noise: noise multiplier of differential privacy; 0 is without.
    """

    name: str
    images: int = 1
    steps: int = 1
    warmup: bool = True
    noise: float = 0.0

    @property
    def epsilon(self) -> float | None:
        """Differential privacy of the one patient, who is in every sum, at `DELTA`; None without."""
        return epsilon_of([Releases(1.0, self.noise, self.steps)], DELTA) if self.noise else None

    @property
    def method(self) -> RAConfig:
        """The quickstart's RA."""
        return RAConfig(channels=(8, 16), latent=256, w_kl=1e-6, warmup_steps=1000 if self.warmup else 0)

    @property
    def rate(self) -> float:
        """Adam's."""
        return self.method.warmup_learning_rate if self.warmup else self.method.learning_rate


SCENARIOS = (
    Scenario("1 image, 1 step"),
    Scenario("1 image, 1 step, introspective", warmup=False),
    Scenario("1 image, 20 steps", steps=20),
    Scenario("8 images, 1 step", images=8),
    Scenario("1 image, 1 step, DP without noise", noise=1e-9),
    Scenario("1 image, 1 step, DP", noise=1.0),
)
"""What is tried. The one without noise is no privacy: it shows that the noise is what helps, not the clipping."""


def first_model(scenario: Scenario, size: int, seed: int) -> RA:
    """The model that a run begins with, which all know.

    Args:
        scenario: which method.
        size: side of the images.
        seed: of its weights.
    """
    return cast(RA, build_method(scenario.method, size, seed))


def sent(scenario: Scenario, start: RA, images: Tensor, seed: int) -> dict[str, Tensor]:
    """The update of each parameter by name, float64, rounded as the protocol does.

    Augmentation is off, in the attacker's favour: with it he draws the changed image.

    Args:
        scenario: what the site does.
        start: model that it begins with; it stays as it is.
        images: its training images, (N, 1, S, S) in [0, 1].
        seed: of the noise of latents; that of differential privacy is the operating system's.
    """
    method, held = copy.deepcopy(start), HeldImages(images)
    still = AugmentationConfig(rotate_degrees=0, shift=0, scale=0)
    training = TrainingConfig(
        steps=scenario.steps + 1, validate_every=scenario.steps + 1, batch_size=len(images), augmentation=still
    )
    private = None
    if scenario.noise:
        dp = PrivacyConfig(noise_multiplier=scenario.noise, sampling_rate=1.0, delta=DELTA)
        private = PrivateSteps([[i] for i in range(len(images))], dp, scenario.noise, len(images), Randomness())
    runtime = Runtime.resolve(RuntimeConfig(threads=torch.get_num_threads()), "fp32")
    LocalTrainer(method, held, held, training, runtime, seed, private=private).run(scenario.steps)
    before = dict(start.named_parameters())
    return {
        name: torch.from_numpy(decode(encode(np.asarray(after.detach().double() - before[name].detach().double()))))
        for name, after in method.named_parameters()
    }
