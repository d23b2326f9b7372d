"""From a reconstruction to an anomaly map to an image score: always float32, deterministic, each image by itself.

The paper's map is CLAHE residual × perceptual maps, A = |C(x̂) − C(x)| · P(x̂, x) · P(C(x̂), C(x)), and its image score
is the mean of A over all pixels. Every factor can be switched off, and a map can be standardised by what it shows on
the site's own healthy images. Values of A are tiny (a threshold of 0.009 in the authors' code): compare them only
within one scoring and one perceptual network.

Reference: Bercea et al., arXiv 2401.10637, and the authors' code as described in `docs/method.md`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ra_core.clahe import equalize
from ra_core.perceptual import Perceptual
from ra_core.scorings import DISTANCE_SCORINGS, SCORINGS, ScoringConfig

__all__ = [
    "DISTANCE_SCORINGS",
    "SCORINGS",
    "HealthyMoments",
    "HealthyStatistics",
    "Scorer",
    "ScoringConfig",
    "blur",
    "image_scores",
]

TOP_SHARE = 0.05
"""Share of pixels behind the pool `top`. On synthetic anomalies it beat 1, 10 and 25 % and the maximum."""


TISSUE = 0.05
"""Grey above which a pixel is taken for tissue: of the mean of a site's healthy images, and of a reconstruction."""


@dataclass(frozen=True)
class HealthyStatistics:
    """What a site's healthy images and maps show at each pixel.

    Attributes:
        mean: of the maps, (H, W) float64, smoothed over neighbours.
        spread: the same of their standard deviation.
        inside: bool (H, W), where there is tissue as a rule; at one pixel at least.
    """

    mean: np.ndarray
    spread: np.ndarray
    inside: np.ndarray

    def standardise(self, maps: Tensor, signed: bool = False) -> Tensor:
        """Spreads above the healthy mean, 0 below it and where no tissue is: (N, 1, H, W) -> the same, at least 0.

        Half the average spread of tissue is added to each pixel's own, so that a pixel that never varied can't turn
        noise into an alarm. Outside, a model whose picture a lesion has changed as a whole would be loud for nothing.

        Args:
            maps: as `Scorer` makes them.
            signed: whether what lies below the mean counts as what lies above it.
        """
        half = 0.5 * self.spread[self.inside].mean()
        mean, spread, inside = (
            torch.from_numpy(part).to(maps.device) for part in (self.mean, self.spread + half + 1e-12, self.inside)
        )
        z = (maps.double() - mean) / spread
        return ((z.abs() if signed else z.clamp_min(0)) * inside).float()


class HealthyMoments:
    """Count and sums of healthy maps (H, W), taken one by one: memory doesn't grow with their number."""

    def __init__(self) -> None:
        self._count, self._total, self._squares = 0, np.zeros(()), np.zeros(())

    def add(self, maps: Iterable[np.ndarray]) -> HealthyMoments:
        """Take in more maps; returns itself."""
        for m in maps:
            self._count += 1
            self._total = self._total + m.astype(np.float64)
            self._squares = self._squares + m.astype(np.float64) ** 2
        return self

    def statistics(self, healthy: np.ndarray, sigma: float = 2.0) -> HealthyStatistics:
        """Of all maps so far.

        Args:
            healthy: mean of the healthy images, (H, W) in [0, 1].
            sigma: in pixels, of the smoothing of both moments, since a site may have few images.

        Raises:
            ValueError: fewer than two maps.
        """
        if self._count < 2:
            raise ValueError(f"{self._count} healthy maps: a spread needs at least two")
        mean = _gaussian(self._total / self._count, sigma)
        spread = np.sqrt(np.maximum(_gaussian(self._squares / self._count, sigma) - mean**2, 0))
        inside = healthy > TISSUE
        return HealthyStatistics(mean, spread, inside if inside.any() else np.ones_like(inside))


class Scorer:
    """Anomaly maps under several scorings at once, sharing the factor maps they have in common.

    Args:
        perceptual: the pretrained network; may be None where no scoring asks for it.

    Example:
        >>> x, x_hat = torch.rand(2, 1, 64, 64), torch.rand(2, 1, 64, 64)
        >>> Scorer(None).maps(x, x_hat, [ScoringConfig(name="plain", factors=("residual",))])["plain"].shape
        torch.Size([2, 1, 64, 64])
    """

    def __init__(self, perceptual: Perceptual | None) -> None:
        self.perceptual = perceptual

    def maps(self, x: Tensor, x_hat: Tensor, scorings: Iterable[ScoringConfig]) -> dict[str, Tensor]:
        """Unstandardised anomaly maps by scoring name, each (N, 1, H, W) float32; at least 0, but of a signed scoring.

        Args:
            x: images (N, 1, H, W); clamped to [0, 1].
            x_hat: reconstructions of the same shape; clamped to [0, 1].
            scorings: what to compute.

        Raises:
            ValueError: an image or reconstruction holds NaN or infinity, or a perceptual factor is asked for without
                a network.
        """
        scorings = list(scorings)
        x, x_hat = _valid(x, "image"), _valid(x_hat, "reconstruction")
        needed = {factor for scoring in scorings for factor in scoring.factors}
        pairs = {"": (x, x_hat)}
        if any(factor.startswith("clahe") for factor in needed):
            pairs["clahe_"] = (equalize(x), equalize(x_hat))
        factors = {"signed_residual": x - _gain(x, x_hat) * x_hat} if "signed_residual" in needed else {}
        for prefix, (a, b) in pairs.items():
            if prefix + "residual" in needed:
                factors[prefix + "residual"] = (a - b).abs()
            if prefix + "perceptual" in needed:
                factors[prefix + "perceptual"] = self._distance(b, a)
        return {scoring.name: _combine(factors, scoring) for scoring in scorings}

    def distance_maps(self, distance: Tensor, scorings: Iterable[ScoringConfig]) -> dict[str, Tensor]:
        """Unstandardised anomaly maps by scoring name, each (N, 1, H, W), at least 0.

        Args:
            distance: a method's own, (N, 1, H, W), at least 0.
            scorings: what to compute.

        Raises:
            ValueError: a distance is NaN or infinite, or a scoring asks for a reconstruction.
        """
        _require_finite(distance, "distance")
        return {scoring.name: _combine({"distance": distance.float()}, scoring) for scoring in scorings}

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        if self.perceptual is None:
            raise ValueError("this scoring needs a perceptual network, and none was given")
        return self.perceptual.distance_map(a, b)


def _gain(x: Tensor, x_hat: Tensor) -> Tensor:
    """How much brighter each image is than its reconstruction: two (N, 1, H, W) -> (N, 1, 1, 1).

    The middle of the shortest half of all ratios in the body, a robust mode after the shorth (Andrews et al. 1972,
    "Robust Estimates of Location"): what a lesion covers, or what the model draws wrongly, moves it little up to half
    of the body, unless its ratios are all alike where those elsewhere are not.
    """
    ratios = torch.where(x_hat > TISSUE, x / x_hat.clamp(min=TISSUE), torch.inf).flatten(1).sort(dim=1).values
    count = (ratios < torch.inf).sum(1, keepdim=True)
    places = torch.arange(ratios.shape[1], device=x.device).expand_as(ratios)
    ends = (places + count // 2).clamp(max=ratios.shape[1] - 1)
    widths = torch.where(places + count // 2 < count, ratios.gather(1, ends) - ratios, torch.inf)
    middle = ratios.gather(1, widths.argmin(1, keepdim=True) + count // 4)
    return torch.where(count > 0, middle, 1.0)[..., None, None]


def image_scores(maps: Tensor, scoring: ScoringConfig) -> np.ndarray:
    """Image scores, float64 (N,), from maps (N, 1, H, W) in their final form."""
    flat = maps.double().flatten(1)
    if scoring.pool == "top":
        flat = flat.topk(max(1, round(TOP_SHARE * flat.shape[1])), dim=1).values
    return flat.mean(1).cpu().numpy()


def _combine(factors: dict[str, Tensor], scoring: ScoringConfig) -> Tensor:
    product = torch.ones(())
    for name in scoring.factors:
        if name not in factors:
            raise ValueError(f"scoring '{scoring.name}' needs the factor '{name}', which this method doesn't have")
        sigma = scoring.perceptual_blur if name.endswith("perceptual") else 0.0
        product = product * blur(factors[name], sigma)
    smooth = blur(product, scoring.smooth)
    return smooth - blur(product, scoring.shading) if scoring.shading else smooth


def blur(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of each map (N, 1, H, W), sigma in pixels; 0 is none."""
    if not sigma:
        return maps
    return torch.from_numpy(_gaussian(maps.cpu().numpy(), (0, 0, sigma, sigma))).to(maps.device)


def _gaussian(values: np.ndarray, sigma: float | tuple[float, ...]) -> np.ndarray:
    from scipy.ndimage import gaussian_filter  # noqa: PLC0415 - a round trains without a score, and scipy loads slowly

    blurred: np.ndarray = gaussian_filter(values, sigma)
    return blurred


def _valid(x: Tensor, what: str) -> Tensor:
    _require_finite(x, what)
    return x.float().clamp(0, 1)


def _require_finite(x: Tensor, what: str) -> None:
    bad = (~torch.isfinite(x)).flatten(1).any(1).nonzero().flatten().tolist()
    if bad:
        raise ValueError(f"{what} {bad[0]} of the batch holds NaN or infinity")
