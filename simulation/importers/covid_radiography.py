"""COVID-19 Radiography Database: chest films gathered from many sources, by class, without patient numbers."""

from __future__ import annotations

from pathlib import Path

from ra_core.data import Label
from ra_core.errors import DataError
from simulation.importers.listing import Listed, Listing, files

__all__ = ["read_covid_radiography"]

_CLASSES = {
    "Normal": "",
    "COVID": "COVID-19",
    "Lung_Opacity": "lung opacity",
    "Viral Pneumonia": "viral pneumonia",
}


def read_covid_radiography(source: Path) -> Listing:
    """All films of the folders CLASS/images. The lung masks beside them are of another size, and are not used.

    Raises:
        DataError: a class is not there.
    """
    listing, seen = Listing(), set()
    for path in files(source, ".png"):
        *_, kind, folder, name = ("", "", *path.split("/"))
        if folder == "images" and kind in _CLASSES:
            seen.add(kind)
            label: Label = "anomalous" if _CLASSES[kind] else "healthy"
            listing.images.append(Listed(path, name[:-4], label, _CLASSES[kind]))
    missing = [kind for kind in _CLASSES if kind not in seen]
    if missing:
        raise DataError(f"{source}: no films in {missing[0]}/images", "name the folder COVID-19_Radiography_Dataset")
    listing.notes.append("patients are not known: each film counts as one, and one person may be in two splits")
    return listing
