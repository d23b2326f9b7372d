"""Mahalanobis distance: how far an image is from the Gaussian of healthy ones, as one number."""

from __future__ import annotations

from torch import Tensor

from ra_core.models.configs.classical import MahalanobisConfig
from ra_core.models.method import Detector
from ra_core.models.principal import PrincipalMethod
from ra_core.scoring import DISTANCE_SCORINGS

__all__ = ["Mahalanobis"]


SMALLEST = 1e-9
"""Variance at least: of moments that nothing was taken into."""


class Mahalanobis(Detector, PrincipalMethod):
    """Distance by the covariance of probabilistic PCA (Tipping and Bishop 1999), at SIDE x SIDE.

    That is the sample's covariance along the leading components, and the same variance in all other directions: with
    K coordinates c, their variances λ, and what is left of the image r, D² = Σ c_k² / λ_k + |r|² / σ². The
    distance is D per square root of the number of pixels, about 1 on average over the training images.
    """

    localises = False
    scorings = tuple(scoring for scoring in DISTANCE_SCORINGS if scoring.name == "distance")
    """All others are the same on a map that is the same everywhere."""

    def __init__(self, config: MahalanobisConfig, size: int) -> None:  # noqa: ARG002
        super().__init__(config.components)
        self.config = config

    def distance(self, x: Tensor) -> Tensor:
        """One number an image, the same at each pixel: (N, 1, H, W) in [0, 1] -> the same."""
        return self._distances(x)[:, None, None, None].expand(x.shape)

    def _distances(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N,)."""
        spectrum, centred = self.spectrum(), self.centred(x)
        coordinates, pixels = self.coordinates(centred), centred.shape[1]
        left = (centred - self.combined(coordinates)).square().sum(1)
        # With fewer training images than components nothing is left of them, and rounding is all there is to go by.
        variance = max(spectrum.rest, spectrum.noise / pixels, SMALLEST)
        squared = (coordinates.square() / spectrum.variances.to(x.device)).sum(1) + left / variance
        return (squared / pixels).sqrt()
