"""Settings of secure aggregation: what a study asks of all sites, and by which keys a site knows the others."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ra_core.settings import BesideFile, Config

__all__ = ["KeyringConfig", "SecureAggregationConfig"]


class SecureAggregationConfig(Config):
    """In a study: the server learns sums over the sites, and no single site's update, counts or metrics."""

    threshold: int = Field(
        ge=3, description="sites that have to stay to a round's end: more than half of those agreed, at least 3"
    )
    metrics: tuple[Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,39}$")], ...] = Field(
        ("validation_error",),
        max_length=32,
        description="means that every site gives, masked; without validation_error the latest model is taken",
    )
    stage_seconds: float = Field(
        300.0, gt=0, description="longest wait for each of the four short exchanges before and after training"
    )


class KeyringConfig(Config):
    """In a site's config: its own signing key, and by which fingerprints it knows the sites of its consortium."""

    signing_key: BesideFile = Field(description="this site's private signing key, relative to this file")
    sites: dict[str, Annotated[str, Field(pattern="^SHA256:[A-Za-z0-9+/]{43}$")]] = Field(
        {}, description="fingerprint of each site's signing key, this one's too, told on another way than the server"
    )

    def __hash__(self) -> int:
        return hash(self.digest())  # a dict has none, and images are kept by a site's config
