"""From a site's config to its data, ready to train on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ra_core.config import PreprocessingConfig, SiteConfig
from ra_core.data import ImageSet, Manifest, Row, SiteImages
from ra_core.data.scan import Scan, ScanRules, rows_of, scan
from ra_core.data.site_images import FEWEST
from ra_core.errors import ConfigError, DataError, TooFewImagesError

__all__ = ["Survey", "data_root", "enough", "open_site", "refuse_others_calibration", "survey"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Survey:
    """What a site's files are for, and which of them can be used.

    Attributes:
        scan: of the folder, or of the files that the manifest names.
        declared: files that ought to be images of the site: all rows of its manifest, or those of the folder.
        named: one row a file that the manifest names, or that folder rules name and that was read, in the order of the
            paths: used, or a copy, or lost.
    """

    scan: Scan
    declared: int
    named: tuple[Row, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """Those of files that are used."""
        used = {entry.path for entry in self.scan.accepted}
        return tuple(row for row in self.named if row.path in used)

    def images(self, site: SiteConfig, preprocessing: PreprocessingConfig, cache: Path | None) -> SiteImages:
        """Those that are used, by split.

        Raises:
            DataError: a larger share was lost than the site's limit: nobody trains on a small rest unnoticed.
        """
        self._refuse_lost(site)
        rows = self.rows
        frames = {entry.path: [picture.frame for picture in entry.pictures] for entry in self.scan.accepted}
        train, val, test, calibration = (
            ImageSet(
                [row for row in rows if row.split == split], self.scan.root, preprocessing, cache, site.limits, frames
            )
            for split in ("train", "val", "test", "calibration")
        )
        return SiteImages(site.data.site, train, val, test, calibration, declared=self.declared, used=len(rows))

    def _refuse_lost(self, site: SiteConfig) -> None:
        if self.scan.lost_share <= site.limits.max_lost:
            return
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(self.scan.lost_reasons.items()))
        raise DataError(
            f"site '{site.data.site}' lost {self.scan.lost} of {self.scan.meant} images "
            f"({why}), more than limits.max_lost allows ({site.limits.max_lost:.1%})",
            "`ra-client check` lists them: mend them, or take them out of the folder or manifest",
        )


def data_root(site: SiteConfig, given: Path | None) -> Path:
    """The folder with the site's images: the one given, else its config's.

    Raises:
        DataError: neither is there.
    """
    root = given or site.data.root
    if root is None:
        raise DataError(
            f"site '{site.data.site}' has no data root",
            "set data.root in its config, add --data FOLDER, or set the environment variable RA_DATA",
        )
    return root


def survey(
    site: SiteConfig,
    preprocessing: PreprocessingConfig,
    root: Path,
    cache: Path | None,
    progress: Progress | None = None,
) -> Survey:
    """Look at all files of a site.

    Args:
        site: its config.
        preprocessing: of the study.
        root: data root.
        cache: folder for what was seen, so that an unchanged file is decoded once.
        progress: told after each file how many of how many are done.

    Raises:
        DataError: the data root is missing.
        ManifestError: the manifest, or what the folder rules make, breaks a rule.
    """
    rules = ScanRules.of(site)
    if site.data.folder:
        found = scan(root, rules, preprocessing, progress, cache=cache)
        return Survey(found, found.meant, rows_of(found, site, site.data.folder))
    listed = Manifest.load(root / site.data.manifest, root, site=site.data.site).select()
    rows = tuple(replace(row, path=Path(row.path).as_posix()) for row in listed)  # as the scan calls files
    return Survey(scan(root, rules, preprocessing, progress, rows, cache), len(rows), rows)


def open_site(
    site: SiteConfig,
    preprocessing: PreprocessingConfig,
    root: Path,
    cache: Path | None,
    progress: Progress | None = None,
) -> SiteImages:
    """The site's images, checked for being enough to take part.

    Raises:
        DataError: the data root is missing, or too many images can't be used.
        ManifestError: as `survey`.
        TooFewImagesError: too few healthy images to train or validate.
    """
    return enough(site, survey(site, preprocessing, root, cache, progress).images(site, preprocessing, cache))


def enough(site: SiteConfig, images: SiteImages) -> SiteImages:
    """The same images.

    Raises:
        TooFewImagesError: they are too few to train or validate.
    """
    for split, fewest in FEWEST.items():
        found = len(getattr(images, split))
        if found < fewest:
            where = "data.folder" if site.data.folder else "the manifest"
            raise TooFewImagesError(
                f"site '{site.data.site}' has {found} healthy {split} images: at least {fewest} are needed",
                f"give more images the split {split} in {where}",
            )
    return images


def refuse_others_calibration(theirs: str, site: SiteConfig) -> None:
    """Thresholds of one site hold for no other.

    Args:
        theirs: name of the site that was calibrated.
        site: config of the one at hand.

    Raises:
        ConfigError: they are two.
    """
    ours = site.data.site
    if theirs != ours:
        raise ConfigError(
            f"the calibration is of site '{theirs}', and the site config of '{ours}' (data.site)",
            "run `ra-client calibrate` with this site config, or give the site's own calibration as --calibration",
        )
