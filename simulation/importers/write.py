"""From an importer's list to a manifest: patients to splits, paths from the data root, and what was counted."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ra_core.config import SplitShares
from ra_core.data import Manifest, boxes_text, manifest_bytes
from ra_core.data.scan.folder import drawn_split
from ra_core.errors import DataError
from simulation.importers.listing import Listed, Listing
from simulation.importers.public_sets import PUBLIC_SETS, PublicSet

__all__ = ["SHARES", "Imported", "counted", "free_place", "import_set", "write_manifest"]

SHARES = SplitShares(train=0.6, val=0.1, calibration=0.1, test=0.2)
"""Of the healthy patients. The authors tested on 10 % to 37 % of their normals, and kept none for calibration."""


@dataclass(frozen=True)
class Imported:
    """What was written.

    Attributes:
        images: how many, by split and label.
        patients: how many there are.
        boxed: images with boxes.
        masked: images with a lesion mask.
        left: what was left aside: how many, by why.
        notes: what whoever uses the set has to know of this copy.
    """

    images: Mapping[tuple[str, str], int]
    patients: int
    boxed: int
    masked: int
    left: Mapping[str, int]
    notes: Sequence[str]


def import_set(name: str, source: Path, out: Path) -> Imported:
    """Write the manifest of a public set. Its folder is the data root: paths are relative to it.

    Healthy patients are drawn to splits as folder rules draw them (`docs/data.md`); whoever has an abnormal image is
    tested on with all images. So a patient is in one split, and the same one every time.

    Args:
        name: of `PUBLIC_SETS`.
        source: the set's folder, within that of the manifest.
        out: the manifest, a file that is not there yet.

    Raises:
        DataError: the folder is not as the set's authors give it, or not within the manifest's, or the file is there.
        ManifestError: what was read breaks a rule of manifests.
    """
    root = out.parent
    free_place(out)
    if not source.is_dir():
        raise DataError(f"{source}: no such folder", "name the folder that the set was unpacked to")
    if not source.resolve().is_relative_to(root.resolve()):
        hint = "write the manifest into a folder above the images: paths in it are relative to its own folder"
        raise DataError(f"{source}: not within {root.resolve()}", hint)
    kind, below = PUBLIC_SETS[name], source.resolve().relative_to(root.resolve())
    listing = kind.read(source)
    if not listing.images:
        why = "".join(f"; {count} {reason}" for reason, count in sorted(listing.left.items()))
        raise DataError(f"{source}: no image of {kind.source}{why}", "docs/data.md says how the folder has to look")
    rows = _rows(name, kind, listing.images, below)
    write_manifest(rows, out)
    return counted(rows, listing)


def free_place(out: Path) -> None:
    """Nothing is overwritten.

    Raises:
        DataError: there is something of this name.
    """
    if out.exists():
        raise DataError(f"{out}: there is something already", "remove it, or give another name")


def _rows(name: str, kind: PublicSet, images: Sequence[Listed], below: Path) -> list[dict[str, str]]:
    tested = {image.patient for image in images if image.label == "anomalous"}
    return [
        {
            "path": (below / image.path).as_posix(),
            "site": name,
            "anatomy": kind.anatomy,
            "modality": kind.modality,
            "split": "test" if image.patient in tested else drawn_split(image.patient, SHARES),
            "label": image.label,
            "pathology": image.pathology,
            "patient_id": image.patient,
            "source": kind.source,
            "lesion_mask": (below / image.lesion_mask).as_posix() if image.lesion_mask else "",
            "boxes": boxes_text(image.boxes),
        }
        for image in images
    ]


def write_manifest(rows: Sequence[Mapping[str, str]], out: Path) -> None:
    """Only what keeps the rules of manifests appears under its name; its folder is the data root.

    Raises:
        ManifestError: the rows break a rule of manifests.
    """
    handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    made = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(manifest_bytes(rows))
        Manifest.load(made, out.parent)
        made.chmod(0o644)
        made.replace(out)
    finally:
        made.unlink(missing_ok=True)


def counted(rows: Sequence[Mapping[str, str]], listing: Listing) -> Imported:
    """What rows hold, and what was left aside on the way to them."""
    counts = Counter((row["split"], row["label"]) for row in rows)
    return Imported(
        images=counts,
        patients=len({row["patient_id"] for row in rows}),
        boxed=sum(bool(row["boxes"]) for row in rows),
        masked=sum(bool(row["lesion_mask"]) for row in rows),
        left=dict(sorted(listing.left.items())),
        notes=listing.notes,
    )
