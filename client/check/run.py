"""A call of `ra-client check`: scan, check, say it in counts and codes, write the rest for the site's own eyes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer
from rich.table import Table

from client.check.outcome import Outcome
from client.check.page import write_page
from client.site import Survey, data_root, survey
from ra_core.config import PreprocessingConfig, SiteConfig, StudyConfig
from ra_core.console import TerminalReporter
from ra_core.data import checks
from ra_core.data.checks import Counts, Pictures, Profile
from ra_core.data.scan import walk
from ra_core.errors import CheckError, ConfigError, DataError
from ra_core.files import cache_folder, write_atomically
from ra_core.settings import load_config

__all__ = ["refuse_other", "run_check", "summary"]


def run_check(
    site: Path,
    data: Path | None,
    study: Path | None,
    out: Path | None,
    profiles: Sequence[Path],
    write_profile: Path | None,
    cache: Path | None,
) -> None:
    """What the command does; its options are explained there.

    Raises:
        CheckError: something forbids joining.
        RAError: a config, the data root, a manifest or a profile is no good.
    """
    config = load_config(site, SiteConfig)
    settings = load_config(study, StudyConfig) if study else StudyConfig()
    theirs = Profile.merged([Profile.load(path) for path in profiles]) if profiles else None
    if theirs:
        refuse_other(theirs, config, settings.preprocessing)
    root = data_root(config, data)
    reporter = TerminalReporter()
    with reporter.counted("reading files") as progress:
        found = survey(config, settings.preprocessing, root, (cache or cache_folder()) / "images", progress)
    pictures = Pictures.of(found.scan, found.named)
    outcome = Outcome(
        config,
        settings.preprocessing,
        Counts.of(found.scan, pictures, found.declared, _unnamed(config, root, found)),
        tuple(checks.check(found.scan, found.named, pictures, config, settings, theirs)),
    )
    folder = out or config.state or Path(f"check-{config.data.site}")
    write_atomically(folder / "check.json", outcome.json().encode(), mode=0o600)
    _write_page(folder / "check.html", outcome, root)
    if write_profile:
        digest = settings.preprocessing.digest()
        Profile.of(pictures, config.anatomy, config.modality, digest).save(write_profile)
    reporter.console.print(summary(outcome))
    typer.echo(str(folder / "check.html"))
    if outcome.errors:
        raise CheckError(
            f"site '{config.data.site}' may not join: {', '.join(outcome.errors)}", f"open {folder / 'check.html'}"
        )


def summary(outcome: Outcome) -> Table:
    """What may be seen on a terminal: counts, and findings by level and code."""
    table = Table(
        title=f"{outcome.site.name}: {'may not join' if outcome.errors else 'may join'}", title_justify="left"
    )
    for column in ("", "what", "count, or what was found"):
        table.add_column(column, overflow="fold")
    for name, value in outcome.facts():
        table.add_row("", name, value)
    table.add_section()
    for finding in outcome.findings:
        table.add_row(str(finding.level), str(finding.code), finding.message)
    return table


def _write_page(path: Path, outcome: Outcome, root: Path) -> None:
    try:
        write_page(path, outcome, root)
    except DataError as error:  # its text names the file
        reason = f"an image that was read can't be read again ({error.code})"
        raise DataError(reason, "leave the folder alone while it is checked") from None


def _unnamed(site: SiteConfig, root: Path, found: Survey) -> int | None:
    """How many files of the folder the manifest doesn't name; None without a manifest."""
    if site.data.folder:
        return None
    named = {entry.path for entry in found.scan.entries} | {site.data.manifest.as_posix()}
    named |= {mask for row in found.named for mask in (row.region_mask, row.lesion_mask)}
    return sum(file.path not in named for file in walk(root, site.limits.hidden) if file.reason is None)


def refuse_other(profile: Profile, site: SiteConfig, preprocessing: PreprocessingConfig) -> None:
    """Refuse a profile of other images than those of a site, prepared in this way.

    Raises:
        ConfigError: says what differs.
    """
    for name, theirs, ours in (
        ("anatomy", profile.anatomy, site.anatomy),
        ("modality", profile.modality, site.modality),
        ("preprocessing", profile.preprocessing, preprocessing.digest()),
    ):
        if theirs != ours:
            raise ConfigError(
                f"the profile's {name} is not the site's", "give the profile and the study of one consortium"
            )
