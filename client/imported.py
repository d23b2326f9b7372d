"""A model that a consortium has published, taken in at a hospital that took no part."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from client.models import state_folder, store_model
from ra_core.config import SiteConfig
from ra_core.errors import ConfigError
from ra_core.published import read_published
from ra_core.settings import load_config
from ra_core.words import listed

__all__ = ["take_in"]


def take_in(file: Path, site: Path, ca: Path | None, now: dt.datetime) -> list[str]:
    """Check it and store it where delivered models are; the value says in lines what was stored.

    Args:
        file: that the consortium has published.
        site: the hospital's site config.
        ca: certificate of the consortium that is trusted; without it, that of the site config.
        now: at which the certificate has to be valid.

    Raises:
        ConfigError: the site config is no good, or names no state folder, or there is no certificate.
        ArtifactError: the file or the certificate is no good.
        OSError: the folder can't be written.
    """
    state, config = state_folder(site), load_config(site, SiteConfig)
    trusted = ca or (config.server.ca_certificate if config.server else None)
    if trusted is None:
        raise ConfigError(f"{site}: names no certificate of a consortium", "give --ca ca.crt")
    artifact = read_published(file, trusted, now)
    folder = store_model(state, artifact, f"the file {file.name}")
    gone = artifact.card.withdrawn
    return [
        *([f"{listed(gone)} withdrew from it since: ask the consortium for one without"] if gone else []),
        f"the consortium has signed it: model {artifact.card.model_hash[:16]} of {len(artifact.card.sites)} sites",
        f"stored in {folder}; `ra-client score` takes it as --model",
    ]
