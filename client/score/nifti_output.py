"""An anomaly map as NIfTI, on the input's own grid: every voxel lies where the input's voxel of the same index lies."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from client.score.decided import decided
from ra_core.data.readers import Reading
from ra_core.data.readers.nifti import open_nifti
from ra_core.model import Result

__all__ = ["nifti_map"]

_PLACE = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z", "pixdim", "xyzt_units"),
)
"""Fields of the header that say where voxels lie. No other field of the input is taken over."""


def nifti_map(path: Path, result: Result, reading: Reading, top: float) -> bytes:
    """The bytes of a .nii.gz with the map as float32, 0 where nothing was scored.

    Args:
        path: the NIfTI file that was scored.
        result: of it.
        reading: how it was read.
        top: map value that viewers show brightest at first.

    Raises:
        Refusal: the file is not what it was.
        OSError: it can't be read any more.
    """
    source = open_nifti(path, reading)
    given = source.header
    voxels = np.zeros(source.voxels.shape, np.float32)
    for index in result.small:
        source.grid.picture(voxels, index)[...] = result.slice_map(index)  # a view: it writes into the voxels
    kind: Any = nib.Nifti2Image if isinstance(given, nib.Nifti2Header) else nib.Nifti1Image
    header = kind.header_class()
    for name in _PLACE:
        header[name] = given[name]
    parts = ["anomaly map, not for diagnosis", decided(result, short=True)]
    header["descrip"] = "; ".join(part for part in parts if part).encode("ascii")
    header["cal_max"] = top
    header.set_data_shape(voxels.shape)
    header.set_data_dtype(np.float32)
    image = kind(voxels, None, header)
    return gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)
