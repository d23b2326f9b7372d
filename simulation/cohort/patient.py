"""One virtual patient: a slice, with a lesion or without, drawn from generators of its own."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from ra_core.rng import derive_seed
from simulation.cohort.anatomy import draw_anatomy, load_atlas
from simulation.cohort.appearance import Scanner, acquire, draw_scanner, paint
from simulation.cohort.config import CohortConfig, HospitalConfig
from simulation.cohort.fields import Array
from simulation.cohort.lesions import KINDS, STRENGTHS, Lesion, draw_lesion

__all__ = ["GROUPS", "Group", "VirtualPatient", "virtual_patient"]

Group = Literal["train", "val", "test_healthy", "test_anomalous"]
GROUPS: tuple[Group, ...] = ("train", "val", "test_healthy", "test_anomalous")


@dataclass(frozen=True)
class VirtualPatient:
    """A patient's images.

    Attributes:
        name: unique in the cohort.
        image: float64 (size, size) in [0, 1].
        healthy: float64 (size, size), the slice before lesion, uneven sensitivity and noise.
        sick: `healthy` with the lesion; the same array where there is none.
        lesion: None in a healthy patient.
    """

    name: str
    image: Array
    healthy: Array
    sick: Array
    lesion: Lesion | None


def virtual_patient(config: CohortConfig, hospital: HospitalConfig, group: Group, index: int) -> VirtualPatient:
    """Patient `index` of a group; it doesn't depend on how many patients or other hospitals there are.

    Anatomy, appearance, lesion and noise have separate generators, so a lesion changes nothing but itself. Sick
    patients take the kinds of lesion in turn, and every strength of each.

    Raises:
        ConfigError: nilearn is not installed.
    """
    path = ("cohort", hospital.name, group, index)
    scanner = _scanner(hospital, config.size, config.seed)
    anatomy = draw_anatomy(load_atlas(), config.size, _rng(config.seed, *path, "anatomy"))
    healthy = paint(anatomy, scanner, _rng(config.seed, *path, "appearance"))
    sick, lesion = healthy, None
    if group == "test_anomalous":
        kind = list(KINDS)[index % len(KINDS)]
        strength = list(STRENGTHS)[index // len(KINDS) % len(STRENGTHS)]
        fluid = float(scanner.greys[0])
        rng = _rng(config.seed, *path, "lesion")
        sick, lesion = draw_lesion(healthy, anatomy, rng, kind=kind, strength=strength, fluid=fluid)
    image = acquire(sick, scanner, _rng(config.seed, *path, "noise"))
    return VirtualPatient(f"{hospital.name}-{group}-{index:04d}", image, healthy, sick, lesion)


@lru_cache(maxsize=32)
def _scanner(hospital: HospitalConfig, size: int, seed: int) -> Scanner:
    return draw_scanner(hospital, size, _rng(seed, "cohort", hospital.name, "scanner"))


def _rng(seed: int, *names: str | int) -> np.random.Generator:
    return np.random.default_rng(derive_seed(seed, *names))
