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

LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
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
    """Ours by name: of each precision in both layouts, with its batch, and compiled where asked for."""
    found = {}
    for p in precisions:
        for name, layout in LAYOUTS.items():
            found[f"ours, {p}, {name}"] = Way(step_of(config, p, x, given, layout), p)
        found[f"ours, {p}, with its batch"] = Way(with_its_batch(config, p, folder, given), p)
        for name, layout in LAYOUTS.items() if given.compile else ():
            taken = step_of(config, p, x, given, layout, compiled=True)
            found[f"ours, {p}, {name}, compiled"] = Way(taken, p, f"ours, {p}, {name}")
    return found


def step_of(config, precision, x, given, layout=None, *, compiled=False):
    """Our step on x; the method's own layout without another."""
    images = HeldImages(x)
    trainer = trainer_of(config, precision, images, given, layout)  # lays the method out, as in a round
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
    that fails, and their norm looked at. The own layout of the method.
    """
    node = hospitals(folder, 1, IMAGES | {"train": 4 * given.batch})[0]
    site, preprocessing = load_config(node.site_config, SiteConfig), PreprocessingConfig(size=given.size)
    images = open_site(site, preprocessing, node.data_root, node.cache / precision).train
    trainer = trainer_of(config, precision, images, given)
    return lambda: trainer.run(trainer.step + 1)


def trainer_of(config, precision, images, given, layout=None):
    method = build_method(config, given.size, 0)
    method.memory_format = layout or method.memory_format
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
