"""NIfTI-1 and NIfTI-2 volumes through nibabel's headers, sliced in a named plane."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ra_core.data.readers.grid import Grid
from ra_core.data.readers.reading import Reading
from ra_core.data.readers.refusal import Reason, Refusal, refuse_size, truncated
from ra_core.data.readers.source import Facts, Note, RawImage
from ra_core.data.readers.unpack import Part, is_packed, unpacked
from ra_core.data.readers.voxels import Voxels
from ra_core.data.readers.windows import clip_to

__all__ = ["NiftiSource", "open_nifti"]

_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
_MAX_OFFSET = 1 << 26  # bytes, of which all but the header are extensions
_ERROR = 40  # nibabel's level of what can't be read; lower ones it puts right
_SILENT = logging.Logger("nibabel's remarks on a header, which would go to the terminal", logging.CRITICAL + 1)


@dataclass(frozen=True)
class NiftiSource:
    """One volume of a file, sliced in one plane; its voxels are read with the first picture and kept.

    `header` is nibabel's, put right where it could be, without extensions.
    """

    header: Any = field(repr=False)
    voxels: Voxels
    grid: Grid
    reading: Reading
    notes: tuple[Note, ...]

    @cached_property
    def facts(self) -> Facts:
        """From the header alone."""
        grid = self.grid
        return Facts(
            kind="nifti",
            frames=grid.frames,
            shape=grid.shape,
            spacing=grid.spacing,
            bits=8 * self.voxels.dtype.itemsize,
            positions=grid.positions,
            normal=grid.normal,
            origins=grid.origins,
            tilted=grid.sheared and grid.frames > 1,
            notes=self.notes,
        )

    def picture(self, index: int) -> RawImage:
        """One slice; voxels that are NaN or infinite get the volume's lowest value.

        Raises:
            Refusal: the file is cut or damaged, or its voxels are unfit.
        """
        ends = np.array(self.voxels.ends)
        values = self.voxels.scaled(self.grid.picture(self.voxels.stored, index))
        finite = np.isfinite(values)
        windowed = np.ptp(clip_to(ends, self.reading.window)) > 0
        pixels = np.where(finite, values, ends[0])
        if windowed:
            pixels = clip_to(pixels, self.reading.window)
        notes = {Note.NOT_FINITE: not finite.all(), Note.WINDOW_NOT_APPLIED: not windowed}
        with np.errstate(over="ignore"):  # too large for float32: infinite, which the door refuses
            pixels = pixels.astype(np.float32)
        return RawImage(pixels, self.grid.spacing, "nifti", tuple(n for n in notes if notes[n]))


def open_nifti(path: Path, reading: Reading) -> NiftiSource:
    """Open a NIfTI file, packed by gzip or not.

    Raises:
        Refusal: the header asks for what is not read, or for more than is allowed or the file can hold.
    """
    header = _header(path)
    dimensions = _dimensions(header)
    if math.prod(dimensions) > reading.max_voxels:
        reason = f"{' × '.join(map(str, dimensions))} voxels are too many"
        raise Refusal(Reason.TOO_LARGE, reason, f"export it with no more than {reading.max_voxels} voxels")
    *shape, volumes = dimensions
    voxels = _voxels(path, header, tuple(shape), volumes, reading.volume)
    grid = Grid.of(_affine(header), voxels.shape, reading.plane)
    refuse_size(*grid.shape, reading.max_pixels)
    notes = {
        Note.NOT_GZIP: path.name.lower().endswith(".gz") and not is_packed(path),
        Note.SHEARED: grid.sheared,
        Note.ORIENTATION_GUESSED: not (header["qform_code"] or header["sform_code"]),
        Note.FIRST_VOLUME: volumes > 1,
    }
    return NiftiSource(header, voxels, grid, reading, tuple(note for note in notes if notes[note]))


def _header(path: Path) -> Any:
    """The header without its extensions, which nibabel would read at any length they claim."""
    with unpacked(path) as stream:
        start = stream.read(8)
        kind = nib.Nifti2Header if start[4:] in (b"n+2\0", b"ni2\0") else nib.Nifti1Header
        rest = stream.read(kind.template_dtype.itemsize - len(start))
    if len(start + rest) < kind.template_dtype.itemsize:
        raise truncated()
    header: Any = kind(start + rest, check=False)  # type: ignore[no-untyped-call]
    header.check_fix(logger=_SILENT, error_level=_ERROR)
    if header["magic"].item() != kind.single_magic:
        raise Refusal(Reason.UNSUPPORTED_CONTENT, "header and voxels in two files", "convert the pair to one .nii file")
    return header


def _dimensions(header: Any) -> tuple[int, int, int, int]:
    """Voxels along three axes, and volumes."""
    sizes = [int(n) for n in header["dim"][1 : 1 + int(header["dim"][0])]]
    if not sizes or min(sizes) < 1:
        raise Refusal(Reason.DAMAGED, "an axis without voxels", "export the file again")
    sizes += [1] * (4 - len(sizes))
    if math.prod(sizes[4:]) > 1:
        raise Refusal(Reason.NOT_3D, f"{len(sizes)} dimensions", "export the one volume that is meant")
    if sum(n > 1 for n in sizes[:3]) < 2:
        raise Refusal(Reason.NOT_3D, "no picture, but a line of voxels", "leave it out")
    return sizes[0], sizes[1], sizes[2], sizes[3]


def _voxels(path: Path, header: Any, shape: tuple[int, ...], volumes: int, asked: int) -> Voxels:
    if asked >= volumes > 1:
        reason = f"{volumes} volumes, so none of number {asked}"
        raise Refusal(Reason.NOT_3D, reason, "correct preprocessing.volume in the study config")
    dtype = header.get_data_dtype()
    if dtype.kind == "V":
        raise Refusal(Reason.COLOUR_IMAGE, "voxels are colours", "export the channel that is meant")
    if dtype.kind not in "iuf":
        raise Refusal(Reason.UNSUPPORTED_CONTENT, "voxels are complex numbers", "export magnitudes")
    offset = int(header["vox_offset"]) or header.single_vox_offset
    if offset > _MAX_OFFSET:
        raise Refusal(Reason.DAMAGED, "its voxels begin too far behind the header", "export the file again")
    size = math.prod(shape) * dtype.itemsize
    first = asked if volumes > 1 else 0
    part = Part(offset + first * size, size, offset + volumes * size)
    part.check(path)
    slope, inter = header.get_slope_inter()
    return Voxels(path, part, dtype, shape, 1.0 if slope is None else slope, inter or 0.0)


def _affine(header: Any) -> Any:
    """Voxel indices to millimetres; a file that doesn't say its unit means millimetres."""
    scale = _MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    return np.diag([scale, scale, scale, 1.0]) @ header.get_best_affine()
