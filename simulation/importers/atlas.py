"""ATLAS v2.0: T1 volumes after stroke in MNI space, with lesion masks; laid out as BIDS."""

from __future__ import annotations

import re
from pathlib import Path

from simulation.importers.listing import Listed, Listing, files

__all__ = ["read_atlas"]

_T1 = re.compile(r"(?P<stem>(?P<patient>sub-[a-z0-9]+)_.*)_T1w\.nii\.gz", re.IGNORECASE)
_MASK = "_label-L_desc-T1lesion_mask.nii.gz"


def read_atlas(source: Path) -> Listing:
    """All volumes with a mask beside them. The testing part has none, as its masks are hidden."""
    listing, every = Listing(), set(files(source, ".nii.gz"))
    for path in sorted(every):
        folder, _, name = path.rpartition("/")
        found = _T1.fullmatch(name)
        if not found:
            continue
        mask = f"{folder}/{found['stem']}{_MASK}".lstrip("/")
        if mask in every:
            listing.images.append(Listed(path, found["patient"], "anomalous", "stroke lesion", lesion_mask=mask))
        else:
            listing.left["no lesion mask beside it, as in the testing part"] += 1
    return listing
