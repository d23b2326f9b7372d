"""A perceptual term in the training of RA and its relatives, for `recipe.py` to try: no method of the product has it.

Wherever they compare an image with a drawing of it, `weight` times the relative difference of the two images' feature
maps (AlexNet's five levels, as `ae_perceptual` has it) is added to the squared error per pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from torch import Tensor

from ra_core.errors import ConfigError
from ra_core.losses import squared_error
from ra_core.models import ra, vae
from ra_core.models.ae_perceptual import relative_difference
from ra_core.models.configs import MethodSettings, VariationalSettings
from ra_core.models.configs.perceptual import PerceptualConfig
from ra_core.models.features import pretrained


@contextmanager
def perceptual_term(weight: float, method: MethodSettings) -> Iterator[None]:
    """Training of the method within has the term; with a weight of 0 it is as it was.

    Raises:
        ConfigError: the method compares no image with a drawing of it in this way.
    """
    if not weight:
        yield
        return
    if not isinstance(method, VariationalSettings):
        raise ConfigError("--perceptual: the method has no such term", "RA, SI-VAE, VAE and beta-VAE can have it")

    def error(x: Tensor, y: Tensor) -> Tensor:
        network = pretrained(PerceptualConfig(), str(x.device))
        real, drawn = network.features(x.float()), network.features(y.float())
        return squared_error(x, y) + weight * relative_difference(real, drawn)

    with patch.object(vae, "squared_error", error), patch.object(ra, "squared_error", error):
        yield
