"""How like the original a reconstruction is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike
from skimage.metrics import structural_similarity

from ra_core.metrics.inputs import BoolArray, FloatArray, finite

__all__ = ["inside_and_outside", "ssim", "ssim_maps"]


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


def ssim_maps(images: ArrayLike, reconstructions: ArrayLike) -> FloatArray:
    """The same at every pixel, border included: (N, H, W); arguments and errors as of `ssim`."""
    return np.array([likeness for _, likeness in _pairs(images, reconstructions)], dtype=np.float64)


def inside_and_outside(maps: FloatArray, masks: BoolArray) -> FloatArray:
    """Means of each map inside and outside of its mask, (N, 2).

    Of a sick image and its pseudo-healthy twin: inside the lesion they should differ, outside be alike. Bercea et al.
    2025 (Nat. Commun. 16:1624) build their index of what is conserved and what is corrected from such pairs.

    Args:
        maps: (N, H, W).
        masks: (N, H, W), each with pixels inside and pixels outside.

    Raises:
        ValueError: a mask has no inside or no outside.
    """
    if masks.all((1, 2)).any() or not masks.any((1, 2)).all():
        raise ValueError("a mask needs pixels inside and outside")
    found = [(values[mask].mean(), values[~mask].mean()) for values, mask in zip(maps, masks, strict=True)]
    return np.array(found, dtype=np.float64).reshape(-1, 2)


def _pairs(images: ArrayLike, reconstructions: ArrayLike) -> Iterator[tuple[float, FloatArray]]:
    """Mean and map of each pair."""
    original, made = finite(images, "image pixels"), finite(reconstructions, "reconstruction pixels")
    if original.ndim != 3 or original.shape != made.shape:
        raise ValueError(f"need images and reconstructions (N, H, W), got {original.shape} and {made.shape}")
    settings = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    for x, y in zip(original, made, strict=True):
        yield structural_similarity(x, y, full=True, **settings)  # type: ignore[no-untyped-call]
