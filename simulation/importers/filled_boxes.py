"""Lesion masks that are boxes filled in, as many sets come: back to the boxes, which are measured as such."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ra_core.data import Box, Manifest, Row, boxes_text
from ra_core.data.readers import open_mask, open_source, stored
from ra_core.errors import DataError
from simulation.importers.listing import Listing
from simulation.importers.write import Imported, counted, free_place, write_manifest

__all__ = ["boxes_of", "write_boxes"]


def write_boxes(manifest: Path, site: str, out: Path) -> Imported:
    """Write a site's rows anew, with boxes in place of the lesion masks that are made of filled boxes.

    What is no such mask, as where two boxes overlap, is left aside: its image stays without either, since where its
    lesion ends is not known. A row that has boxes keeps those, and loses its mask. Files of several pictures keep their
    masks, as a box doesn't say on which slice it is.

    Args:
        manifest: of the data root that it lies in.
        site: whose rows are written; no other row is.
        out: the manifest to write, a file in the same folder that is not there yet.

    Raises:
        DataError: the place is taken or another folder, a mask or its image can't be read, or no row has boxes then.
        ManifestError: the manifest breaks a rule.
    """
    root = manifest.parent
    free_place(out)
    if out.parent.resolve() != root.resolve():
        raise DataError(f"{out}: not beside {manifest.name}", "write it there: paths in both go from their folder")
    listing = Listing()
    rows = [asdict(row) for row in _boxed(Manifest.load(manifest, root, site).rows, root, listing)]
    if not any(row["boxes"] for row in rows):
        raise DataError(f"{manifest}: no lesion mask of site '{site}' is made of filled boxes", "keep that manifest")
    write_manifest(rows, out)
    return counted(rows, listing)


def boxes_of(mask: NDArray[np.bool_]) -> tuple[Box, ...]:
    """The boxes that a mask (H, W) is filled in of, from top to bottom; none unless all its parts are rectangles.

    A part is what hangs together by sides or corners. So of boxes that touch none are given back, but for those that
    share a whole side, which can't be told from one box.
    """
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    places = ndimage.find_objects(parts, count)
    if not all(mask[place].all() for place in places):
        return ()
    return tuple(Box(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in places)


def _boxed(rows: Sequence[Row], root: Path, listing: Listing) -> Iterator[Row]:
    for row in rows:
        if row.boxes or not row.lesion_mask:
            yield replace(row, lesion_mask="")
            continue
        facts = open_source(root / row.path).facts
        if facts.kind == "nifti" or facts.frames > 1:
            listing.left["masks of files with several pictures, which stay"] += 1
            yield row
            continue
        inside = open_mask(root / row.lesion_mask, facts).picture(0).pixels > 0
        boxes = boxes_of(stored(inside, facts.turn))
        if not boxes:
            listing.left[
                f"lesion masks {'that are not filled boxes' if inside.any() else 'without anything in them'}"
            ] += 1
        yield replace(row, lesion_mask="", boxes=boxes_text(boxes))
