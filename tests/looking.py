"""Methods that look at images through a network, made small: random features, discs with and without holes."""

import numpy as np
import torch

from ra_core.data import ImageSet, Manifest
from ra_core.rng import generator

SMALL = {"side": 64, "grid": 8, "smooth": 2.0}
SIZE = 64


def discs(site_root, preprocessing):
    """Training images (12), and test images: 6 healthy ones, then 6 with a hole."""
    manifest = Manifest.load(site_root / "manifest.csv", site_root)
    sets = [
        ImageSet(manifest.select(split=split), site_root, preprocessing, None) for split in ("train", "val", "test")
    ]
    train, val, test = (found.images(range(len(found))) for found in sets)
    labels = np.array([row.label == "anomalous" for row in sets[2].rows])
    return torch.cat([train, val]), test[~labels], test[labels]


def stands_out(method, sick):
    """Whether the hole of each of the discs is much farther from healthy than all else of its image."""
    hole = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    hole[26:35, 34:43] = True
    maps = method.distance(sick)[:, 0]
    return (maps[:, hole].mean(1) > 1.5 * maps[:, ~hole].mean(1)).all()


def pictures(n=6, size=SIZE, seed=0):
    """Smooth pictures with a little noise."""
    g = generator(seed, "pictures")
    smooth = torch.nn.functional.interpolate(torch.rand(n, 1, 6, 6, generator=g), size=(size, size), mode="bilinear")
    return (0.9 * smooth + 0.1 * torch.rand(n, 1, size, size, generator=g)).clamp(0, 1)
