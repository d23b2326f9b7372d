"""How like the original a reconstruction is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike
from skimage.metrics import structural_similarity

from ra_core.metrics.inputs import BoolArray, FloatArray, finite

__all__ = ["ssim", "ssim_by_mask"]


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
    return np.array([mean for mean, _ in _pairs(images, reconstructions)], dtype=np.float64)


def ssim_by_mask(images: ArrayLike, reconstructions: ArrayLike, masks: BoolArray) -> FloatArray:
    """Structural similarity inside and outside of each mask, (N, 2): means of the same map, border included.

    Of a sick image and its pseudo-healthy twin: inside the lesion it should be low, outside high. Bercea et al. 2025
    (Nat. Commun. 16:1624) build their index of what is conserved and what is corrected from such pairs.

    Args:
        images: as of `ssim`.
        reconstructions: as of `ssim`.
        masks: (N, H, W), each with pixels inside and pixels outside.

    Raises:
        ValueError: as of `ssim`, or a mask has no inside or no outside.
    """
    found = [np.zeros((0, 2))]
    for (_, likeness), mask in zip(_pairs(images, reconstructions), masks, strict=True):
        if mask.all() or not mask.any():
            raise ValueError("a mask needs pixels inside and outside")
        found.append(np.array([[likeness[mask].mean(), likeness[~mask].mean()]]))
    return np.concatenate(found)


def _pairs(images: ArrayLike, reconstructions: ArrayLike) -> Iterator[tuple[float, FloatArray]]:
    """Mean and map of each pair."""
    original, made = finite(images, "image pixels"), finite(reconstructions, "reconstruction pixels")
    if original.ndim != 3 or original.shape != made.shape:
        raise ValueError(f"need images and reconstructions (N, H, W), got {original.shape} and {made.shape}")
    settings = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    for x, y in zip(original, made, strict=True):
        yield structural_similarity(x, y, full=True, **settings)  # type: ignore[no-untyped-call]
