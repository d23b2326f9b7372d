"""State of a federation between rounds: all that a resumed run needs, and what happened so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Model", "Progress", "RoundRecord"]

Model = dict[str, NDArray[np.float32]]
"""Shared arrays by "part.name"."""


@dataclass(frozen=True)
class RoundRecord:
    """What happened in an exchange.

    Attributes:
        round: from 1; the closing exchange comes after the last.
        asked: nodes that the order went to.
        answered: names of the sites whose answers count, sorted.
        missing: the other agreed sites, sorted.
        rejected: reasons by site, or by node where the site is not known.
        n_images: training images behind the new model.
        validation_error: mean of the received model's errors over the answering sites, weighted by their images.
        by_site: metrics of each site.
        images: training images that each site counts.
        files: of each site, those used and those that ought to be images.
        fingerprints: of each site's data; another one than before tells that the data changed.
    """

    round: int
    asked: int
    answered: tuple[str, ...]
    missing: tuple[str, ...]
    rejected: Mapping[str, str]
    n_images: int
    validation_error: float
    by_site: Mapping[str, Mapping[str, float]]
    images: Mapping[str, int]
    files: Mapping[str, tuple[int, int]]
    fingerprints: Mapping[str, str]


@dataclass
class Progress:
    """State of a federation between rounds.

    Attributes:
        model: the global model after `round` rounds.
        round: rounds done.
        records: of all exchanges so far.
        best: the model with the lowest validation error so far, of those that may be selected.
        best_round: rounds behind it.
        best_error: its validation error; infinite where there is none yet.
    """

    model: Model
    round: int = 0
    records: list[RoundRecord] = field(default_factory=list)
    best: Model = field(default_factory=dict)
    best_round: int = 0
    best_error: float = math.inf
