"""Ways to take a training step, each as a function without arguments: bare, compiled, and with what a round adds."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from virtual_hospitals import IMAGES, hospitals

from client.site import open_site
from ra_core.config import PreprocessingConfig, RuntimeConfig, SiteConfig, TrainingConfig
from ra_core.data import HeldImages
from ra_core.models.method import StepState
from ra_core.models.registry import build_method
from ra_core.rng import generator
from ra_core.runtime import Runtime
from ra_core.settings import load_config
from ra_core.training import LocalTrainer

ENDLESS = 10**9
"""Steps, so that nothing is validated."""


class Way(NamedTuple):
    """A row of the comparison.

    Attributes:
        take: takes the next step; gives its losses, or None where its images are others.
        precision: of the peak that it is held against.
        eager: of a compiled one, the row with the same arithmetic, whose operations can be counted.
    """

    take: Callable
    precision: str = "fp32"
    eager: str | None = None


def ways(config, precisions, x, folder, given):
    """Ours by name: of each precision alone, with its batch, and compiled where asked for."""
    found = {}
    for p in precisions:
        found[f"ours, {p}"] = Way(step_of(config, p, x, given), p)
        found[f"ours, {p}, with its batch"] = Way(with_its_batch(config, p, folder, given), p)
        if given.compile:
            found[f"ours, {p}, compiled"] = Way(step_of(config, p, x, given, compiled=True), p, f"ours, {p}")
    return found


def step_of(config, precision, x, given, *, compiled=False):
    """Our step on x."""
    images = HeldImages(x)
    trainer = trainer_of(config, precision, images, given)
    method, x = trainer.method.train(), x.to(memory_format=trainer.method.memory_format)
    if compiled:  # all shapes are known
        method.encoder.compile(dynamic=False)
        method.decoder.compile(dynamic=False)
    step = 0

    def take():
        nonlocal step
        state = StepState(step, 0, trainer.optimizers, trainer.runtime.autocast, trainer.runtime.device)
        step += 1
        return method.training_step(x, state)

    return take


def with_its_batch(config, precision, folder, given):
    """Our step as a site takes it: images from the cache's files, moved by augmentation, the weights kept for a step
    that fails, and their norm looked at.
    """
    node = hospitals(folder, 1, IMAGES | {"train": 4 * given.batch})[0]
    site, preprocessing = load_config(node.site_config, SiteConfig), PreprocessingConfig(size=given.size)
    images = open_site(site, preprocessing, node.data_root, node.cache / precision).train
    trainer = trainer_of(config, precision, images, given)
    return lambda: trainer.run(trainer.step + 1)


def trainer_of(config, precision, images, given):
    method = build_method(config, given.size, 0)
    training = TrainingConfig(steps=ENDLESS, batch_size=given.batch, validate_every=ENDLESS)
    return LocalTrainer(method, images, images, training, runtime_of(precision, given), 0)


def runtime_of(precision, given):
    return Runtime.resolve(RuntimeConfig(threads=given.threads, device=given.device), precision)


def noise_images(given, count=None):
    """Images of noise: speed doesn't depend on what they show."""
    images = torch.rand(count or given.batch, 1, given.size, given.size, generator=generator(0, "images"))
    return images.to(given.device)


def noise(name, step, *shape):
    """As `StepState.noise`."""
    return torch.randn(*shape, generator=generator(0, "noise", name, step))
