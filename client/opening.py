"""A site ready to work on a study: its images opened, its machine set up."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from client.rounds import Site
from client.site import data_root, open_site
from ra_core.config import PreprocessingConfig, RuntimeConfig, SiteConfig, StudyConfig
from ra_core.data import SiteImages
from ra_core.data.cache import forget_all_but_latest
from ra_core.errors import ConfigError
from ra_core.files import cache_folder
from ra_core.runtime import Runtime

__all__ = ["opened"]


def opened(config: SiteConfig, settings: Mapping[str, Any], state: Path, study: StudyConfig) -> Site:
    """The site, its machine set up anew: other sites of the same process may have set other threads.

    Args:
        config: of the site.
        settings: the node's, which go before the config's: `data-root`, `cache`, `threads`, `device`.
        state: folder in which each site of this machine has its own.
        study: to work on.

    Raises:
        ConfigError: the node's settings or the site's can't be used here.
        DataError: the manifest, its images or the cache can't be used.
    """
    own = {name: settings[name] for name in ("threads", "device") if name in settings}
    try:
        asked = RuntimeConfig.model_validate(config.runtime.model_dump() | own)
    except ValidationError as error:
        raise ConfigError(
            f"the node's {', '.join(own)} are not valid ({error.error_count()} errors)",
            "threads is a number from 1, device cpu, cuda or cuda:N",
        ) from None
    root = data_root(config, Path(settings["data-root"]) if "data-root" in settings else None)
    cache = Path(settings.get("cache") or cache_folder() / "images")
    forget_all_but_latest(cache, study.preprocessing)
    manifest = root / config.data.manifest
    if config.data.folder or not manifest.exists():  # a folder may change at any time
        images = open_site(config, study.preprocessing, root, cache)
    else:
        images = _of_manifest(config, study.preprocessing, root, cache, manifest.stat().st_mtime_ns)
    if study.calibration:  # whose scores set thresholds have no say in the model
        images = images.kept_back()
    runtime = Runtime.resolve(asked, study.training.precision)
    return Site(config, images, runtime, state / config.data.site)


@lru_cache(maxsize=16)
def _of_manifest(
    config: SiteConfig,
    preprocessing: PreprocessingConfig,
    root: Path,
    cache: Path,
    manifest_time: int,  # noqa: ARG001
) -> SiteImages:
    """Kept between rounds where the process is: a manifest takes long to check. A changed manifest is read anew."""
    return open_site(config, preprocessing, root, cache)
