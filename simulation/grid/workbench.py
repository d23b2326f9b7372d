"""What all cells of a study share: sites, machine, networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ra_core.config import RuntimeConfig
from ra_core.perceptual import Perceptual
from ra_core.runtime import Runtime
from simulation.places import Place

__all__ = ["Workbench"]


@dataclass(frozen=True)
class Workbench:
    """See above.

    Attributes:
        places: all sites of the study.
        runtime, machine: device and threads, as settings and in force.
        perceptual: network behind LPIPS.
        cache: folder for preprocessed images.
        adapt_steps: as of the study.
    """

    places: Sequence[Place]
    runtime: RuntimeConfig
    machine: Runtime
    perceptual: Perceptual
    cache: Path
    adapt_steps: int
