"""From the settings of a method to the method itself."""

from importlib import import_module

import torch

from ra_core.models.configs import MethodSettings
from ra_core.models.method import FittedMethod, GradientMethod
from ra_core.rng import derive_seed

__all__ = ["build_method"]


METHODS = {
    "ra": "ra.RA",
    "soft_intro_vae": "soft_intro_vae.SoftIntroVAE",
    "vae": "vae.VAE",
    "beta_vae": "beta_vae.BetaVAE",
    "dae": "dae.DAE",
    "ae_perceptual": "ae_perceptual.PerceptualAE",
    "mae": "mae.MAE",
    "ddpm": "ddpm.DDPM",
    "padim": "padim.PaDiM",
    "patchcore": "patchcore.PatchCore",
    "flow": "flow.FlowDetector",
    "nearest_neighbour": "nearest_neighbour.NearestNeighbour",
    "pca": "pca.PCA",
    "mahalanobis": "mahalanobis.Mahalanobis",
}
"""Where each method is, by name: a module of this package and a class. Modules are imported when a method is built."""


def build_method(config: MethodSettings, size: int, seed: int) -> GradientMethod | FittedMethod:
    """A method with fresh weights that depend on settings and seed alone.

    Args:
        config: the method's settings; their name decides the method.
        size: side of the square images.
        seed: of the initial weights.
    """
    module, _, name = METHODS[config.name].partition(".")
    kind = getattr(import_module(f"ra_core.models.{module}"), name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "initial weights"))
        method: GradientMethod | FittedMethod = kind(config, size)
    return method.to(memory_format=method.memory_format) if isinstance(method, GradientMethod) else method
