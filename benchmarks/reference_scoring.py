"""Scoring as it is written: one image after another, every pass by itself, in float32, by the libraries' own functions.

It follows what `docs/method.md` tells of the authors' code, with the product's network in place of theirs, so that maps
can be compared.
"""

import warnings

import lpips
import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from skimage.exposure import equalize_adapthist


class Reference:
    """Makes the maps of images (N, 1, H, W) and their reconstructions, all in [0, 1], with the weights of `network`,
    and where that is; all but the network is the processor's.
    """

    def __init__(self, net, network):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package calls torchvision by deprecated names
            self._lpips = lpips.LPIPS(net=net, spatial=True, pnet_rand=True, verbose=False).eval()
        self._lpips.load_state_dict(network._net.state_dict())
        self._lpips.to(network.device)
        self._device = network.device

    def maps(self, x, x_hat, scorings):
        """Maps by scoring name, each (N, 1, H, W) float32: of every image, each scoring by itself."""
        found = {s.name: [] for s in scorings}
        for image, twin in zip(x[:, 0].cpu().numpy(), x_hat[:, 0].cpu().numpy(), strict=True):
            for s in scorings:
                found[s.name].append(self._map(image, twin, s))
        return {name: torch.from_numpy(np.stack(maps))[:, None] for name, maps in found.items()}

    def _map(self, image, twin, scoring):
        product = np.ones_like(image)
        equalised = any(factor.startswith("clahe") for factor in scoring.factors)
        pairs = {"": (image, twin), "clahe_": (clahe(image), clahe(twin)) if equalised else None}
        for factor in scoring.factors:
            a, b = pairs["clahe_" if factor.startswith("clahe") else ""]
            if factor.endswith("residual"):
                product = product * np.abs(b - a)
            else:
                product = product * gaussian_filter(self._distance(b, a), scoring.perceptual_blur)
        return gaussian_filter(product, scoring.smooth) if scoring.smooth else product

    def _distance(self, a, b):
        rgb = (torch.from_numpy(image).expand(1, 3, -1, -1).to(self._device) for image in (a, b))
        with torch.inference_mode():
            return self._lpips(*rgb, normalize=True)[0, 0].cpu().numpy()


def clahe(image):
    return equalize_adapthist(image.astype(np.float64)).astype(np.float32)
