"""Real anatomy: tissue maps of the MNI152 template, sliced and deformed anew for every virtual patient.

The maps come with the `nilearn` package, so nothing is downloaded: the ICBM 2009a symmetric template of 152 heads
(Fonov et al., NeuroImage 2011, doi:10.1016/j.neuroimage.2010.07.033). It ends at the brain's surface; skull and scalp
are shells of plausible thickness at a distance from it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ra_core.errors import ConfigError
from simulation.cohort.fields import Array, smooth_field

__all__ = ["FIELD_OF_VIEW_MM", "TISSUES", "Anatomy", "Atlas", "draw_anatomy", "load_atlas"]

FIELD_OF_VIEW_MM = 232.0
TISSUES = ("fluid", "grey", "white", "bone", "marrow", "scalp")

_VOXEL_MM = 2
_HEIGHTS_MM = (10.0, 44.0)
"""Above the commissures: from the basal ganglia to above the ventricles, no eyes or skull base."""

_HEAD_CENTRE_Y_MM = -17.0

_BRIGHTEST_OUTSIDE = np.float32(0.2)
"""Of the T1 template, whose voxels are float32: 23 of them are just as bright, and no brain."""


@dataclass(frozen=True)
class Atlas:
    """Template volumes, float64 (4, X, Y, Z): grey, white, T1 detail beyond the tissues, mm outside the brain."""

    volumes: Array
    origin_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Anatomy:
    """One patient's axial slice, anterior up.

    Attributes:
        tissues: float64 (6, size, size), each pixel's share of each of `TISSUES`; what they leave of 1 is air.
        detail: float64 (size, size), what the T1 template shows beyond its tissues, in units of its brightness.
        outside_mm: float64 (size, size), distance from the brain's hull, negative inside.
        height_mm: height of the slice's centre above the commissures.
    """

    tissues: Array
    detail: Array
    outside_mm: Array
    height_mm: float

    @property
    def spacing_mm(self) -> float:
        """Side of a pixel."""
        return FIELD_OF_VIEW_MM / len(self.detail)


@lru_cache(maxsize=1)
def load_atlas() -> Atlas:
    """Reads the template from the installed `nilearn` package, offline.

    Raises:
        ConfigError: nilearn is not installed.
    """
    try:
        from nilearn import datasets  # noqa: PLC0415 - an optional extra, and slow to import
    except ImportError as error:
        raise ConfigError(
            "virtual hospitals need the package nilearn, which carries the brain template",
            hint="pip install 'federated-ra[simulation]'",
        ) from error
    image = datasets.load_mni152_template(resolution=_VOXEL_MM)
    t1 = np.asarray(image.dataobj, dtype=np.float64)
    grey = np.asarray(datasets.load_mni152_gm_template(resolution=_VOXEL_MM).dataobj, dtype=np.float64)
    white = np.asarray(datasets.load_mni152_wm_template(resolution=_VOXEL_MM).dataobj, dtype=np.float64)
    volumes = np.stack([grey, white, _detail(t1, grey, white), _outside_mm(t1 > _BRIGHTEST_OUTSIDE)])
    x, y, z = (float(value) for value in image.affine[:3, 3])
    return Atlas(volumes, (x, y, z))


def _detail(t1: Array, grey: Array, white: Array) -> Array:
    """What is left of `t1` (X, Y, Z) after the best mixture of the tissues, within the brain."""
    brain = t1 > _BRIGHTEST_OUTSIDE
    shares = np.stack([grey[brain], white[brain], np.clip(1 - grey[brain] - white[brain], 0, 1)], axis=1)
    levels = np.linalg.lstsq(shares, t1[brain], rcond=None)[0]
    detail = np.zeros_like(t1)
    detail[brain] = t1[brain] - shares @ levels
    return detail


def _outside_mm(brain: NDArray[np.bool_], closing_mm: float = 10.0) -> Array:
    """Signed distance in mm to the brain's hull: `brain` (X, Y, Z) with its furrows closed."""
    grown = ndimage.distance_transform_edt(~brain) * _VOXEL_MM <= closing_mm
    hull = ndimage.distance_transform_edt(grown) * _VOXEL_MM > closing_mm
    signed = ndimage.distance_transform_edt(~hull) - ndimage.distance_transform_edt(hull)
    smooth: Array = ndimage.gaussian_filter(signed * _VOXEL_MM, 1.5)
    return smooth


def draw_anatomy(atlas: Atlas, size: int, rng: np.random.Generator) -> Anatomy:
    """One patient: a slice height, a pose, a smooth deformation, and how much fluid the skull holds."""
    height = rng.uniform(*_HEIGHTS_MM)
    head = _pose(size, height, rng) + 2.5 * _displacements(size, 4, rng)
    furrows = head + 1.2 * _displacements(size, 12, rng)
    grey, white, detail = _sample(atlas, slice(0, 3), furrows)
    (outside,) = _sample(atlas, slice(3, 4), head) * rng.uniform(0.85, 1.15)  # a thinner or thicker skull
    fluid_share = np.exp(rng.normal(0, 0.45))  # narrow or wide ventricles and furrows
    tissues = np.concatenate([_brain(grey, white, fluid_share) * (1 - _beyond(outside, 2.5)), _shells(outside)])
    return Anatomy(tissues, detail, outside, height)


def _pose(size: int, height: float, rng: np.random.Generator) -> Array:
    """Where the slice's pixels lie in the template: float64 (3, size, size) in mm, x to the patient's right."""
    steps = (np.arange(size) + 0.5) / size - 0.5
    down, across = np.meshgrid(steps * FIELD_OF_VIEW_MM, steps * FIELD_OF_VIEW_MM, indexing="ij")
    angle = np.deg2rad(rng.normal(0, 4))
    wide, long = rng.normal(1.0, 0.04, size=2)
    x = (across * np.cos(angle) - down * np.sin(angle)) / wide + rng.normal(0, 3)
    y = -(across * np.sin(angle) + down * np.cos(angle)) / long + rng.normal(0, 3)
    nod, tilt = rng.normal(0, 0.07), rng.normal(0, 0.03)
    return np.stack([-x, y + _HEAD_CENTRE_Y_MM, height + nod * y + tilt * x])


def _displacements(size: int, knots: int, rng: np.random.Generator) -> Array:
    """A smooth deformation, float64 (3, size, size); more knots, finer."""
    return np.stack([smooth_field(rng, size, knots) for _ in range(3)])


def _sample(atlas: Atlas, volumes: slice, points: Array) -> Array:
    """The volumes at `points` (3, size, size) in mm, linearly interpolated: float64 (volumes, size, size)."""
    voxels = (points - np.reshape(atlas.origin_mm, (3, 1, 1))) / _VOXEL_MM
    return np.stack([ndimage.map_coordinates(v, voxels, order=1, mode="nearest") for v in atlas.volumes[volumes]])


def _brain(grey: Array, white: Array, fluid_share: float) -> Array:
    """Shares of fluid, grey and white matter that sum to 1: (3, size, size).

    Squares make up for the blur of a template that averages 152 heads.
    """
    fluid = np.clip(1 - grey - white, 0, 1)
    weights = np.stack([fluid_share * fluid**2, grey**2, white**2])
    shares: Array = weights / weights.sum(axis=0)
    return shares


def _shells(outside: Array) -> Array:
    """Shares of bone, marrow and scalp: (3, size, size)."""
    edges = [_beyond(outside, edge) for edge in (2.5, 4.5, 7.0, 9.0, 14.0)]
    inner, marrow, outer, scalp = (edges[i] - edges[i + 1] for i in range(4))
    return np.stack([inner + outer, marrow, scalp])


def _beyond(outside: Array, edge_mm: float, width_mm: float = 2.0) -> Array:
    """1 beyond `edge_mm` outside the brain, 0 before, with a soft step."""
    step: Array = np.clip((outside - edge_mm) / width_mm + 0.5, 0, 1)
    return step
