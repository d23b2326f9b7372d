"""The public sets that an importer knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from simulation.importers.atlas import read_atlas
from simulation.importers.covid_radiography import read_covid_radiography
from simulation.importers.fastmri import read_fastmri
from simulation.importers.grazpedwri import read_grazpedwri
from simulation.importers.ixi import read_ixi
from simulation.importers.listing import Listing
from simulation.importers.rsna import read_rsna

__all__ = ["PUBLIC_SETS", "PublicSet"]


@dataclass(frozen=True)
class PublicSet:
    """What all images of a set have in common, and how its folder is read.

    Attributes:
        anatomy, modality, source: as a manifest has them; its `site` is the set's name.
        read: from the set's folder to its images.
    """

    anatomy: str
    modality: str
    source: str
    read: Callable[[Path], Listing]


PUBLIC_SETS = {
    "ixi": PublicSet("brain", "MR", "IXI", read_ixi),
    "fastmri": PublicSet("brain", "MR", "fastMRI, boxes of fastMRI+", read_fastmri),
    "atlas": PublicSet("brain", "MR", "ATLAS v2.0", read_atlas),
    "grazpedwri": PublicSet("wrist", "DX", "GRAZPEDWRI-DX", read_grazpedwri),
    "covid_radiography": PublicSet("chest", "DX", "COVID-19 Radiography Database", read_covid_radiography),
    "rsna": PublicSet("chest", "CR", "RSNA Pneumonia Detection Challenge 2018", read_rsna),
}
"""By the name of their site. What a folder has to hold is in `docs/data.md`."""
