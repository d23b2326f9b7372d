"""Random numbers of a test, and small private steps."""

from contextlib import nullcontext

import numpy as np
import torch

from ra_core.models.configs import RAConfig, VAEConfig
from ra_core.models.method import StepState
from ra_core.models.registry import build_method
from ra_core.privacy.randomness import Randomness

TINY = {"channels": (4, 8), "latent": 4}
METHODS = {
    "ra": RAConfig(**TINY, warmup_steps=1, gamma_r=0.5),
    "ra, frozen batch norm": RAConfig(**TINY, warmup_steps=1, norm="frozen_batch"),
    "vae": VAEConfig(**TINY),
}


class Seeded(Randomness):
    """The same bits each time; nothing made of them leaves a site."""

    def __init__(self, seed=0):
        self._draws = np.random.default_rng(seed)

    def bits(self, count):
        return self._draws.bytes(count)


class Rows(Randomness):
    """Noise of latents by image: the same rows give the same noise, whoever else is there."""

    def __init__(self, *rows):
        self._rows, self._calls = rows, 0

    def normal(self, count):
        self._calls += 1
        size = count // len(self._rows)
        return np.concatenate([np.random.default_rng([self._calls, row]).standard_normal(size) for row in self._rows])


def build(name, step=5):
    """A method in training, and the state of a step."""
    method = build_method(METHODS[name], 32, 0).train()
    return method, StepState(step, 0, method.optimizers(), nullcontext, torch.device("cpu"))
