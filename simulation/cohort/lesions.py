"""Lesions with exact masks: bright, dark, ring, diffuse, mass effect, missing tissue; from obvious to subtle.

A lesion is drawn on the clean image, after the blur and before noise, so that `sick - clean` is 0 outside its mask.
Only a mass also pushes its surroundings aside: its mask is its core. Fluid in ventricles and furrows is spared.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from simulation.cohort.anatomy import Anatomy
from simulation.cohort.fields import Array, smooth_field

__all__ = ["KINDS", "STRENGTHS", "Lesion", "draw_lesion"]

Mask = NDArray[np.bool_]

STRENGTHS = {"strong": 1.0, "medium": 0.65, "subtle": 0.35}  # share of a kind's full change


@dataclass(frozen=True)
class Lesion:
    """What was drawn.

    Attributes:
        kind: a key of `KINDS`.
        strength: a key of `STRENGTHS`.
        mask: bool (size, size).
        area_cm2: the mask's area.
    """

    kind: str
    strength: str
    mask: Mask
    area_cm2: float

    @property
    def description(self) -> str:
        """For example `ring, subtle, 3.2 cm2`."""
        return f"{self.kind}, {self.strength}, {self.area_cm2:.1f} cm2"


@dataclass(frozen=True)
class _Place:
    """A centre (row, column), a radius, and (size, size) arrays: the mask, depth in mm below the lesion's surface.

    `opacity` rises from 0.3 at the mask's rim to 1 within: every pixel of the mask is changed visibly.
    """

    centre: tuple[int, int]
    radius_mm: float
    mask: Mask
    depth_mm: Array
    opacity: Array


@dataclass(frozen=True)
class _Canvas:
    """What a change is drawn on, how strongly, and the grey that fills a hole."""

    clean: Array
    anatomy: Anatomy
    strength: float
    fluid: float
    rng: np.random.Generator


@dataclass(frozen=True)
class _Kind:
    """How a kind is placed and drawn.

    Attributes:
        change: (canvas, place) -> the sick image.
        radius_mm: least and largest radius.
        rim_mm: width of the rim.
        depth: least and largest depth of the centre below the brain's surface, in radii.
        most_fluid: pixels with a larger share of fluid are spared.
    """

    change: Callable[[_Canvas, _Place], Array]
    radius_mm: tuple[float, float]
    rim_mm: float
    depth: tuple[float, float] = (0.5, 99.0)
    most_fluid: float = 0.5


def draw_lesion(
    clean: Array, anatomy: Anatomy, rng: np.random.Generator, *, kind: str, strength: str, fluid: float
) -> tuple[Array, Lesion]:
    """Draws a lesion of a random place, size and shape.

    Args:
        clean: float64 (size, size), the healthy image before noise.
        anatomy: the patient's, of the same size.
        rng: the lesion's own generator.
        kind: a key of `KINDS`.
        strength: a key of `STRENGTHS`.
        fluid: grey of fluid in this image, which fills missing tissue.

    Returns:
        The sick image, float64 (size, size), and the lesion.
    """
    place = _place(anatomy, KINDS[kind], rng)
    sick = KINDS[kind].change(_Canvas(clean, anatomy, STRENGTHS[strength], fluid, rng), place)
    area = float(place.mask.sum()) * anatomy.spacing_mm**2 / 100
    return sick, Lesion(kind, strength, place.mask, area)


def _place(anatomy: Anatomy, kind: _Kind, rng: np.random.Generator) -> _Place:
    """The roomiest of four random places: a lesion that fluid mostly hides helps nobody."""
    radius = float(np.exp(rng.uniform(*np.log(kind.radius_mm))))
    below = -anatomy.outside_mm
    room = (below > 0) & (anatomy.tissues[0] <= kind.most_fluid)
    least = min(kind.depth[0] * radius, 0.7 * float(below.max()))  # a large lesion high up has no deeper place
    most = max(kind.depth[1] * radius, least + 5)
    centres = np.argwhere(room & (below >= least) & (below <= most))
    places = []
    for row, column in centres[rng.integers(len(centres), size=4)]:
        depth = _blob(anatomy, (row, column), radius, rng)
        mask = room & (depth > 0)
        opacity = np.where(mask, 0.3 + 0.7 * np.clip(depth / kind.rim_mm, 0, 1), 0)
        places.append(_Place((int(row), int(column)), radius, mask, depth, opacity))
    return max(places, key=lambda place: int(place.mask.sum()))


def _blob(anatomy: Anatomy, centre: tuple[int, int], radius_mm: float, rng: np.random.Generator) -> Array:
    """Depth in mm below the surface of an uneven ellipse, negative outside: float64 (size, size)."""
    down, across = _offsets_mm(anatomy, centre)
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1, 1.35)
    long = (across * np.cos(turn) + down * np.sin(turn)) / stretch
    short = (down * np.cos(turn) - across * np.sin(turn)) * stretch
    angle = np.arctan2(short, long)
    waves = sum(rng.normal(0, 0.2 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 6))
    depth: Array = radius_mm * (1 + np.clip(waves, -0.5, 0.5)) - np.hypot(long, short)
    return depth


def _offsets_mm(anatomy: Anatomy, centre: tuple[int, int]) -> Array:
    """Distances down and across from `centre` in mm: float64 (2, size, size)."""
    pixels = np.indices(anatomy.detail.shape)
    offsets: Array = (pixels - np.reshape(centre, (2, 1, 1))) * anatomy.spacing_mm
    return offsets


def _bright(canvas: _Canvas, place: _Place) -> Array:
    return canvas.clean + 0.45 * canvas.strength * place.opacity


def _dark(canvas: _Canvas, place: _Place) -> Array:
    return canvas.clean * (1 - 0.7 * canvas.strength * place.opacity)


def _ring(canvas: _Canvas, place: _Place) -> Array:
    """A bright wall, a quarter of the radius thick, around a darker core."""
    share = place.depth_mm / place.radius_mm
    wall = place.mask * np.exp(-((4 * share - 0.8) ** 2))
    core = place.mask * np.clip(share - 0.3, 0, 0.4)
    ring: Array = canvas.clean * (1 - canvas.strength * core) + 0.45 * canvas.strength * wall
    return ring


def _diffuse(canvas: _Canvas, place: _Place) -> Array:
    """A wide, patchy, faint brightening or darkening."""
    patches = np.clip(1 + 0.35 * smooth_field(canvas.rng, len(canvas.clean), 20), 0.3, 1.7)
    change = canvas.rng.choice([-0.4, 0.4]) * canvas.strength
    diffuse: Array = canvas.clean * (1 + change * place.opacity * patches)
    return diffuse


def _mass(canvas: _Canvas, place: _Place) -> Array:
    """A core that pushes the brain aside, up to three radii away and never the skull."""
    clean, anatomy = canvas.clean, canvas.anatomy
    offsets = _offsets_mm(anatomy, place.centre)
    distance = np.hypot(*offsets)
    fade = np.clip(1 - distance / (3 * place.radius_mm), 0, 1) ** 2 * np.clip(-anatomy.outside_mm / 8, 0, 1)
    push = 0.8 * place.radius_mm * fade / np.maximum(distance, 1e-3) * offsets / anatomy.spacing_mm
    pushed: Array = map_coordinates(clean, np.indices(clean.shape) - push, order=1, mode="nearest")
    level = np.median(clean[place.mask]) * (1 + canvas.rng.choice([-0.45, 0.45]) * canvas.strength)
    mass: Array = pushed + 0.9 * place.opacity * (level - pushed)
    return mass


def _missing(canvas: _Canvas, place: _Place) -> Array:
    """A hole at the brain's surface, filled with fluid; partial where subtle."""
    return canvas.clean + canvas.strength * place.opacity * (canvas.fluid - canvas.clean)


KINDS = {
    "bright": _Kind(_bright, radius_mm=(6, 22), rim_mm=2.5),
    "dark": _Kind(_dark, radius_mm=(6, 22), rim_mm=2.5),
    "ring": _Kind(_ring, radius_mm=(9, 22), rim_mm=2.0, depth=(0.9, 99)),
    "diffuse": _Kind(_diffuse, radius_mm=(14, 30), rim_mm=12.0),
    "mass": _Kind(_mass, radius_mm=(9, 18), rim_mm=2.5, depth=(1.2, 99)),
    "missing": _Kind(_missing, radius_mm=(9, 22), rim_mm=1.5, depth=(0.1, 0.8), most_fluid=0.9),
}
