"""Whether a site's images look like those that a model learned from, as far as that can be told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from client.check.run import refuse_other
from ra_core.artifact import Card
from ra_core.config import SiteConfig
from ra_core.data.checks import Pictures, Profile
from ra_core.data.checks.outliers import check_consortium, check_poses

__all__ = ["foreign"]

NO_PROFILE = (
    "whether images here look like the consortium's was not compared: ask it for its profile, and give it as --profile"
)


def foreign(pictures: Pictures, site: SiteConfig, card: Card, profiles: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Warnings and remarks; they hold counts, and name no file and no patient.

    Args:
        pictures: of the site.
        site: its config.
        card: of the model.
        profiles: files of the consortium's sites; perhaps none.

    Raises:
        ConfigError: a profile is none, or of other images.
    """
    warnings = [
        f"the model was trained on {name} {theirs}, and this site is one of {name} {ours}"
        for name, theirs, ours in (
            ("anatomy", card.anatomy, site.anatomy),
            ("modality", card.modality, site.modality),
        )
        if theirs and theirs != ours
    ]
    findings = [*check_poses(pictures)]
    if profiles:
        profile = Profile.merged([Profile.load(path) for path in profiles])
        refuse_other(profile, site, card.preprocessing)
        findings += check_consortium(pictures, profile)
    warnings += [f"{finding.message}; {finding.how_to_fix}" for finding in findings]
    return warnings, [] if profiles else [NO_PROFILE]
