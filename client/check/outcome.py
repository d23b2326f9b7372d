"""Everything a check found out of one site, as plain facts and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from ra_core.config import PreprocessingConfig, SiteConfig
from ra_core.data.checks import Counts, Finding, Level

__all__ = ["SITE_ONLY", "Outcome"]

SITE_ONLY = "site-only: holds images and file names, must not leave the hospital"


@dataclass(frozen=True)
class Outcome:
    """What a check found out.

    Attributes:
        site: its config.
        preprocessing: of the study.
        counts: the site in numbers.
        findings: worst first.
    """

    site: SiteConfig
    preprocessing: PreprocessingConfig
    counts: Counts
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[str, ...]:
        """Codes of what forbids joining, each once."""
        return tuple(dict.fromkeys(str(finding.code) for finding in self.findings if finding.level is Level.ERROR))

    def facts(self) -> Iterator[tuple[str, str]]:
        """Names and values that name no file and no patient."""
        counts = self.counts
        yield "files declared", str(counts.declared)
        yield "files read", str(counts.read)
        yield "files skipped", _listed(counts.skipped) or "0"
        if counts.unnamed is not None:
            yield "other files in the folder", str(counts.unnamed)
        yield "images used", str(counts.pictures)
        yield "patients", str(counts.patients)
        for part, number in counts.by_part.items():
            yield f"images {part}", str(number)
        yield "sizes", _listed(counts.sizes)
        yield "pixel spacings", _listed(counts.spacings)
        yield "bits a sample", _listed(counts.bits)
        yield "formats", _listed(counts.kinds)
        if counts.notes:
            yield "notes of the readers", _listed(counts.notes)

    def json(self) -> str:
        """All of it; site-only."""
        whole = {
            "site_only": SITE_ONLY,
            "site": self.site.data.site,
            "preprocessing": self.preprocessing.digest(),
            "may_join": not self.errors,
            "counts": asdict(self.counts),
            "findings": [asdict(finding) for finding in self.findings],
        }
        return json.dumps(whole, indent=2) + "\n"


def _listed(counts: dict[str, int], most: int = 6) -> str:
    """The most frequent ones, each with its number."""
    shown = [f"{name}: {count}" for name, count in list(counts.items())[:most]]
    rest = len(counts) - most
    return ", ".join(shown) + (f", and {rest} more" if rest > 0 else "")
