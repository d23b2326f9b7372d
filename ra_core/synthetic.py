"""Synthetic anomalies on healthy images: the only sick images that may choose a scoring.

They are crude on purpose and know nothing of any pathology: a soft spot that is too bright or too dark, a region that
lost its texture, a piece of another image, and a local deformation. Ideas: foreign patch interpolation (Tan et al.,
2020), local blur and intensity shift, as self-supervised anomaly detection commonly uses them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, map_coordinates
from torch import Tensor

from ra_core.config import PreprocessingConfig
from ra_core.rng import derive_seed

__all__ = ["KINDS", "spoil"]

WHITE = PreprocessingConfig().high_percentile
"""Percentile of the body's pixels that becomes 1 in preprocessing unless a study says otherwise."""


def spoil(x: Tensor, kind: str, seed: int, others: Tensor, first: int = 0) -> tuple[Tensor, Tensor]:
    """Put one synthetic anomaly of a kind into each image.

    Args:
        x: healthy images (N, 1, S, S) in [0, 1].
        kind: a name in `KINDS`.
        seed: of place, size and strength; image n draws from (seed, kind, first + n) alone.
        others: healthy images (M, 1, S, S) to take foreign pieces from.
        first: index of x[0] in the whole set, so that batches don't matter.

    Returns:
        Spoiled images in [0, 1] and bool masks (N, 1, S, S) of where the anomaly has more than a tenth of its strength.
        Beyond its soft rim, an eighth of the side at most, nothing changes, unless the anomaly is brighter than nearly
        all else: then all else is dimmed, as it is where a sick image is scaled to its own range.
    """
    images, masks = [], []
    for n, image in enumerate(x[:, 0].double().numpy()):
        rng = np.random.default_rng(derive_seed(seed, "synthetic", kind, first + n))
        region = _region(image, rng)
        other = others[int(rng.integers(len(others))), 0].double().numpy()
        images.append(_scaled(KINDS[kind](image, region, other, rng), image > 0))
        masks.append(region > 0.1)
    return (
        torch.from_numpy(np.stack(images)).float()[:, None],
        torch.from_numpy(np.stack(masks))[:, None],
    )


def _region(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A soft, irregular region (S, S) in [0, 1] around a random foreground pixel, 5 to 25 % of the side in radius."""
    side = image.shape[0]
    foreground = np.argwhere(image > 0.1)
    centre = foreground[rng.integers(len(foreground))] if len(foreground) else np.array([side // 2, side // 2])
    radii, angle = rng.uniform(0.05, 0.25, 2) * side, rng.uniform(0, np.pi)
    dy, dx = np.mgrid[:side, :side] - centre[:, None, None]
    u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    wobble = gaussian_filter(rng.standard_normal((side, side)), side / 24)
    distance = np.hypot(u / radii[0], v / radii[1]) + 0.25 * wobble / wobble.std()
    soft: np.ndarray = gaussian_filter((distance < 1).astype(float), side / 64)
    return soft


def _scaled(image: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Cut at black, and dimmed to [0, 1] where the anomaly is so bright that it becomes the new white."""
    white = max(1.0, np.percentile(image[body], WHITE)) if body.any() else 1.0
    scaled: np.ndarray = np.clip(image / white, 0, 1)
    return scaled


def _brighten(image: np.ndarray, region: np.ndarray, _: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image + rng.uniform(0.1, 0.4) * region


def _darken(image: np.ndarray, region: np.ndarray, _: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image - rng.uniform(0.1, 0.4) * region


def _blur(image: np.ndarray, region: np.ndarray, _: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    blurred = gaussian_filter(image, rng.uniform(0.015, 0.04) * image.shape[0])
    out: np.ndarray = image + region * (blurred - image)
    return out


def _foreign(image: np.ndarray, region: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shifted = np.roll(other, rng.integers(-16, 17, 2), (0, 1))
    out: np.ndarray = image + rng.uniform(0.4, 0.9) * region * (shifted - image)
    return out


def _deform(image: np.ndarray, region: np.ndarray, _: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side = image.shape[0]
    shift = rng.uniform(0.03, 0.08) * side * region
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:side, :side]
    warped: np.ndarray = map_coordinates(
        image, [rows + shift * np.sin(angle), columns + shift * np.cos(angle)], order=1, mode="nearest"
    )
    return warped


Spoiler = Callable[[np.ndarray, np.ndarray, np.ndarray, np.random.Generator], np.ndarray]

KINDS: dict[str, Spoiler] = {
    "bright": _brighten,
    "dark": _darken,
    "blur": _blur,
    "foreign": _foreign,
    "deformed": _deform,
}
