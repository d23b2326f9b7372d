"""How like the original a reconstruction is."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from skimage.metrics import structural_similarity

from ra_core.metrics.inputs import FloatArray, finite

__all__ = ["ssim"]


def ssim(images: ArrayLike, reconstructions: ArrayLike) -> FloatArray:
    """Structural similarity of each pair, (N,), with the settings of Wang et al. 2004.

    A Gaussian window of σ = 1.5 (11 × 11), population covariance, a data range of 1, and no pixel within 5 of the
    border, where the window would stick out.

    Args:
        images: (N, H, W) in [0, 1], H and W at least 11.
        reconstructions: (N, H, W) in [0, 1].

    Raises:
        ValueError: a pixel is not finite or shapes differ.
    """
    original, made = finite(images, "image pixels"), finite(reconstructions, "reconstruction pixels")
    if original.ndim != 3 or original.shape != made.shape:
        raise ValueError(f"need images and reconstructions (N, H, W), got {original.shape} and {made.shape}")
    return np.array([_ssim(x, y) for x, y in zip(original, made, strict=True)], dtype=np.float64)


def _ssim(x: FloatArray, y: FloatArray) -> float:
    settings = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(x, y, **settings))  # type: ignore[no-untyped-call]
