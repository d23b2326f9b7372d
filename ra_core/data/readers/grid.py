"""Where a NIfTI file's voxels lie in the body, and how the pictures of one plane are cut from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ra_core.config import Plane
from ra_core.data.readers.refusal import Reason, Refusal

__all__ = ["Grid"]

_AXIS: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
_SHEARED = 0.01  # cosine between two axes: some 0.6°
_TO_DICOM = np.array([-1.0, -1.0, 1.0])  # from right, front, head to left, back, head


@dataclass(frozen=True)
class Grid:
    """A volume's grid, sliced in one plane.

    Axial pictures go from feet to head and have the front up and the body's right side on the left; coronal ones go
    from back to front and have the head up and the right side on the left; sagittal ones go from right to left and have
    the head up and the front on the left.

    Attributes:
        turn: stored axes to those closest to right, front and head, as `nibabel.io_orientation` gives it.
        affine: (4, 4), voxel indices along those axes to millimetres.
        size: voxels along those axes.
        plane: in which it is sliced.
    """

    turn: NDArray[np.float64]
    affine: NDArray[np.float64]
    size: tuple[int, ...]
    plane: Plane

    @classmethod
    def of(cls, affine: NDArray[np.float64], stored: tuple[int, ...], plane: Plane) -> Grid:
        """Of a volume of `stored` voxels along its own axes (X, Y, Z), with `affine` to millimetres.

        Raises:
            Refusal: the affine tells no three directions, or a single slice doesn't lie in the plane.
        """
        if not np.isfinite(affine).all():
            raise Refusal(Reason.DAMAGED, "orientation is not a number", "export the file again")
        turn: Any = nib.io_orientation(affine)  # type: ignore[no-untyped-call]
        if not np.isfinite(turn).all():
            raise Refusal(Reason.DAMAGED, "two of its axes are one", "export the file again")
        size = tuple(stored[axis] for axis in np.argsort(turn[:, 0]))
        canonical = affine @ nib.orientations.inv_ornt_aff(turn, stored)  # type: ignore[no-untyped-call]
        grid = cls(turn, canonical, size, plane)
        if min(grid.shape) < 2:
            hint = "state its plane in the study's preprocessing.plane, or export volumes"
            raise Refusal(
                Reason.UNSUPPORTED_CONTENT, f"no {plane} pictures, as it has one slice in another plane", hint
            )
        return grid

    @property
    def frames(self) -> int:
        """How many pictures there are."""
        return self.size[self._axis]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of each."""
        return self.size[self._rows], self.size[self._columns]

    @property
    def spacing(self) -> tuple[float, float]:
        """Millimetres between rows and between columns."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[self._rows]), float(lengths[self._columns])

    @property
    def normal(self) -> tuple[float, float, float]:
        """Unit vector across the pictures, along their order, in DICOM's axes (to left, back, head)."""
        across = np.cross(self.affine[:3, self._rows], self.affine[:3, self._columns])
        across *= np.sign(across @ self._step) / np.linalg.norm(across)
        x, y, z = (across * _TO_DICOM).tolist()
        return x, y, z

    @property
    def origins(self) -> tuple[tuple[float, float, float], ...]:
        """Centre of each picture's upper left pixel, in millimetres along DICOM's axes."""
        corner = np.array([n - 1.0 for n in self.size])  # rows and columns run against the axes
        corner[self._axis] = self.frames - 1 if self.plane == "sagittal" else 0
        first = self.affine[:3, :3] @ corner + self.affine[:3, 3]
        places = (first + np.arange(self.frames)[:, None] * self._step) * _TO_DICOM
        return tuple((x, y, z) for x, y, z in places.tolist())

    @property
    def positions(self) -> tuple[float, ...]:
        """Millimetres of each picture along the normal, ascending."""
        return tuple((np.array(self.origins) @ np.array(self.normal)).tolist())

    @property
    def sheared(self) -> bool:
        """Whether two axes are not at right angles, as after a gantry tilt."""
        directions = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        return bool(np.abs(directions.T @ directions - np.eye(3)).max() > _SHEARED)

    def picture(self, stored: NDArray[np.generic], index: int) -> NDArray[np.generic]:
        """Picture `index` of a volume as it is stored (X, Y, Z): a view (H, W), so what is written to it is stored."""
        canonical: Any = nib.apply_orientation(stored, self.turn)  # type: ignore[no-untyped-call]
        along = np.moveaxis(canonical, self._axis, 0)
        view: NDArray[np.generic] = along[self.frames - 1 - index if self.plane == "sagittal" else index]
        return view[::-1, ::-1].T

    @property
    def _axis(self) -> int:
        return _AXIS[self.plane]

    @property
    def _rows(self) -> int:
        return 1 if self.plane == "axial" else 2

    @property
    def _columns(self) -> int:
        return 1 if self.plane == "sagittal" else 0

    @property
    def _step(self) -> NDArray[np.float64]:
        """From one picture to the next, in millimetres to right, front and head."""
        step: NDArray[np.float64] = self.affine[:3, self._axis] * (-1 if self.plane == "sagittal" else 1)
        return step
