"""LPIPS and its pretrained network, offline: `network` computes, `weights` finds, `download` fetches."""

from ra_core.perceptual.download import fetch_weights
from ra_core.perceptual.network import Perceptual
from ra_core.perceptual.weights import PINNED, find_backbone

__all__ = ["PINNED", "Perceptual", "fetch_weights", "find_backbone"]
