"""LPIPS and its pretrained network, offline: `network` computes, `weights` finds, `download` fetches."""

from ra_core.perceptual.download import fetch_weights
from ra_core.perceptual.network import Perceptual

__all__ = ["Perceptual", "fetch_weights"]
