"""What a site asks of its files."""

from __future__ import annotations

from dataclasses import dataclass, field

from ra_core.config import FolderRules, LimitsConfig, SiteConfig

__all__ = ["ScanRules"]


@dataclass(frozen=True)
class ScanRules:
    """What a site asks of its files.

    Attributes:
        limits: sizes and shares.
        anatomy: that headers must not contradict; empty for any.
        modality: that headers must not contradict; empty for any.
        folder: patterns of the files that are meant; without them all are.
    """

    limits: LimitsConfig = field(default_factory=LimitsConfig)
    anatomy: str = ""
    modality: str = ""
    folder: FolderRules | None = None

    @classmethod
    def of(cls, site: SiteConfig) -> ScanRules:
        """Those of a site config."""
        return cls(site.limits, site.anatomy, site.modality, site.data.folder)

    @property
    def patient(self) -> str:
        """What tells the patient, as `FolderRules.patient` has it."""
        return self.folder.patient if self.folder else "dicom"
