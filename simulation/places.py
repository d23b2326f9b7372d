"""The sites of an experiment: their configs, their images, and what the report tells of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from client.site import data_root, open_site, survey
from ra_core.artifact import DataSummary
from ra_core.config import PreprocessingConfig, SiteConfig
from ra_core.data import SiteImages
from ra_core.errors import ConfigError
from ra_core.settings import load_config
from simulation.arms import Reporter
from simulation.config import SiteEntry
from simulation.report import SiteFacts

__all__ = ["Place", "open_places", "read_images"]


@dataclass(frozen=True)
class Place:
    """One site.

    Attributes:
        file: its config.
        root: its data root.
        config: what stands there.
        images: its own; train and val are of `reference` where that is another site.
        trained: whether models are trained on it.
        reference: site whose healthy images set scale and thresholds.
    """

    file: Path
    root: Path
    config: SiteConfig
    images: SiteImages
    trained: bool
    reference: str

    @property
    def name(self) -> str:
        """In tables."""
        return self.config.data.site

    @property
    def borrows(self) -> bool:
        """Whether the healthy reference images are another site's."""
        return self.reference != self.name

    @property
    def note(self) -> str:
        """What every row of its numbers tells."""
        return f"healthy reference images of {self.reference}" if self.borrows else ""

    @property
    def summary(self) -> DataSummary:
        """What a model learned from here, in counts."""
        train, val = self.images.train, self.images.val
        return DataSummary(
            site=self.name,
            train_images=len(train),
            train_patients=len({row.patient_id for row in train.rows}),
            val_images=len(val),
            val_patients=len({row.patient_id for row in val.rows}),
            used_files=self.images.used,
            declared_files=self.images.declared,
        )

    def facts(self) -> SiteFacts:
        """For the report."""
        labels = [row.label for row in self.images.test.rows]
        return SiteFacts(
            name=self.name,
            title=self.config.name,
            role="trained" if self.trained else "held out",
            anatomy=self.config.anatomy,
            modality=self.config.modality,
            n_train=0 if self.borrows else len(self.images.train),
            n_val=0 if self.borrows else len(self.images.val),
            n_test_healthy=labels.count("healthy"),
            n_test_anomalous=labels.count("anomalous"),
            used_files=self.images.used,
            declared_files=self.images.declared,
            reference=self.reference,
            pictures=self.config.data.pictures,
        )


def open_places(
    entries: Sequence[SiteEntry],
    base: Path,
    preprocessing: PreprocessingConfig,
    root: Path | None,
    cache: Path | None,
    reporter: Reporter,
    kept_back: bool = False,
) -> list[Place]:
    """All sites in their order.

    Args:
        entries: of the experiment.
        base: folder that the paths of site configs are relative to.
        preprocessing: how images are preprocessed.
        root: data root; None takes that of each site's config.
        cache: folder for preprocessed images.
        reporter: told what goes on.
        kept_back: whether images are kept back for calibration, so that no model is chosen by them.

    Raises:
        ConfigError: a site config is bad, a site stands there twice, or healthy images are asked of no site there is.
        DataError, ManifestError: the data root or a manifest is no good.
        TooFewImagesError: a site has too few healthy images.
    """
    files = [(base / entry.config).resolve() for entry in entries]
    configs = [load_config(file, SiteConfig) for file in files]
    names = [config.data.site for config in configs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"site '{twice[0]}' stands there twice", "give each site config once")
    roots = [data_root(config, root) for config in configs]
    whole = {}
    for entry, config, own_root in zip(entries, configs, roots, strict=True):
        if not entry.healthy_of:
            with reporter.counted(f"looking at {config.data.site}") as progress:
                images = open_site(config, preprocessing, own_root, cache, progress)
            whole[config.data.site] = images.kept_back() if kept_back else images
    places = []
    for entry, file, config, own_root in zip(entries, files, configs, roots, strict=True):
        reference = entry.healthy_of or config.data.site
        images = whole.get(config.data.site) or _borrowing(config, reference, whole, preprocessing, own_root, cache)
        places.append(Place(file, own_root, config, images, entry.is_trained_on, reference))
    return places


def read_images(places: Sequence[Place], reporter: Reporter) -> None:
    """Preprocess all images of all sites that aren't in the cache yet, with one bar.

    Raises:
        DataError: one can't be read or is unfit.
    """
    sets = [getattr(place.images, split) for place in places for split in ("train", "val", "calibration", "test")]
    total, done = sum(len(images) for images in sets), 0
    with reporter.task("reading images", total) as move:
        for images in sets:
            images.prepare(lambda n, _total, before=done: move(before + n, ""))
            done += len(images)


def _borrowing(
    config: SiteConfig,
    reference: str,
    whole: Mapping[str, SiteImages],
    preprocessing: PreprocessingConfig,
    root: Path,
    cache: Path | None,
) -> SiteImages:
    """A site's own test images with another site's healthy ones."""
    if reference not in whole:
        raise ConfigError(
            f"healthy_of '{reference}' of site '{config.data.site}' is no site with healthy images here",
            f"name one of {', '.join(whole) or 'the other sites'}",
        )
    own = survey(config, preprocessing, root, cache).images(config, preprocessing, cache)
    return replace(own, train=whole[reference].train, val=whole[reference].val)
