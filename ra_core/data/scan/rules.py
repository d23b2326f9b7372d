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
        patient: what tells the patient, as `FolderRules.patient` has it.
        folder: patterns of the files that are meant; without them all are.
    """

    limits: LimitsConfig = field(default_factory=LimitsConfig)
    anatomy: str = ""
    modality: str = ""
    patient: str = "dicom"
    folder: FolderRules | None = None

    @classmethod
    def of(cls, site: SiteConfig) -> ScanRules:
        """Those of a site config."""
        folder = site.data.folder
        return cls(site.limits, site.anatomy, site.modality, folder.patient if folder else "dicom", folder)
