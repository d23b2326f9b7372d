"""IXI: T1 volumes of healthy people from three London hospitals, plain or registered by Clinica's t1-linear."""

from __future__ import annotations

import re
from pathlib import Path

from ra_core.errors import DataError
from simulation.importers.listing import Listed, Listing, files

__all__ = ["read_ixi"]

_NAME = re.compile(r"(?:sub-)?(IXI\d{3})[-_](?:.*[-_])?T1w?\.nii(?:\.gz)?", re.IGNORECASE)
"""IXI002-Guys-0828-T1.nii.gz, and sub-IXI002_ses-M00_T1w_space-MNI152NLin2009cSym_res-1x1x1_T1w.nii.gz."""


def read_ixi(source: Path) -> Listing:
    """All T1 volumes; of a volume that is there whole and cropped (`desc-Crop`), the whole one.

    Raises:
        DataError: a person has two volumes.
    """
    listing, seen = Listing(), {}
    paths = [*files(source, ".nii"), *files(source, ".nii.gz")]
    for path in sorted(paths, key=lambda path: ("desc-crop" in path.lower(), path)):
        name = path.rsplit("/", 1)[-1]
        found = _NAME.fullmatch(name)
        if not found:
            listing.left["not called as a T1 volume of IXI"] += 1
            continue
        person = found[1].upper()
        if person in seen and "desc-crop" in name.lower():
            listing.left["cropped copy of a volume that is there whole"] += 1
            continue
        if person in seen:
            raise DataError(f"{source}: two T1 volumes of one person", "name the folder of one release")
        seen[person] = path
        listing.images.append(Listed(path, person, "healthy"))
    return listing
