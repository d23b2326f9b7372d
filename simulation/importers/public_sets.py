"""The public sets that an importer knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.importers.listing import Listing

__all__ = ["PUBLIC_SETS", "PublicSet"]


@dataclass(frozen=True)
class PublicSet:
    """What all images of a set have in common, and how its folder is read.

    Attributes:
        anatomy, modality, source: as a manifest has them; its `site` is the set's name.
        reader: a module of this package and a function; imported when a set is read.
    """

    anatomy: str
    modality: str
    source: str
    reader: str

    @property
    def read(self) -> Callable[[Path], Listing]:
        """From the set's folder to its images."""
        module, _, name = self.reader.partition(".")
        found: Callable[[Path], Listing] = getattr(import_module(f"simulation.importers.{module}"), name)
        return found


PUBLIC_SETS = {
    "ixi": PublicSet("brain", "MR", "IXI", "ixi.read_ixi"),
    "fastmri": PublicSet("brain", "MR", "fastMRI, boxes of fastMRI+", "fastmri.read_fastmri"),
    "atlas": PublicSet("brain", "MR", "ATLAS v2.0", "atlas.read_atlas"),
    "grazpedwri": PublicSet("wrist", "DX", "GRAZPEDWRI-DX", "grazpedwri.read_grazpedwri"),
    "covid_radiography": PublicSet(
        "chest", "DX", "COVID-19 Radiography Database", "covid_radiography.read_covid_radiography"
    ),
    "rsna": PublicSet("chest", "CR", "RSNA Pneumonia Detection Challenge 2018", "rsna.read_rsna"),
}
"""By the name of their site. What a folder has to hold is in `docs/data.md`."""
