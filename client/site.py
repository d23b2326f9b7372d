"""From a site's config to its data, ready to train on."""

from __future__ import annotations

from pathlib import Path

from ra_core.config import SiteConfig, StudyConfig
from ra_core.data import ImageSet, Manifest, SiteImages
from ra_core.errors import TooFewImagesError

__all__ = ["FEWEST", "open_site"]

FEWEST = {"train": 8, "val": 4}
"""Fewer healthy images than these can't train or validate anything."""


def open_site(site: SiteConfig, study: StudyConfig, root: Path, cache: Path | None) -> SiteImages:
    """The site's images, checked for being enough to take part.

    Raises:
        DataError: the data root is missing.
        ManifestError: the manifest breaks a rule.
        TooFewImagesError: too few healthy images to train or validate.
    """
    manifest = Manifest.load(root / site.data.manifest, root, site=site.data.site)
    sets = (
        ImageSet(manifest.select(split=split), root, study.preprocessing, cache) for split in ("train", "val", "test")
    )
    images = SiteImages(site.data.site, *sets)
    for split, fewest in FEWEST.items():
        found = len(getattr(images, split))
        if found < fewest:
            raise TooFewImagesError(
                f"site '{site.data.site}' has {found} healthy {split} images: at least {fewest} are needed",
                f"add rows with split {split} to the manifest",
            )
    return images
