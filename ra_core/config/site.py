"""Of one hospital: where its images are, what its machine is, and what may leave."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from ra_core.address import split_address
from ra_core.policy import PolicyConfig
from ra_core.secure_aggregation import KeyringConfig
from ra_core.settings import BesideFile, Config

__all__ = [
    "DIGEST",
    "SITE_NAME",
    "DataConfig",
    "FolderRules",
    "LimitsConfig",
    "RuntimeConfig",
    "ServerConfig",
    "SiteConfig",
    "SplitShares",
]

SITE_NAME = re.compile(r"\w[\w .-]{0,63}")
"""Names of sites: they stand in lists, files, records and error texts."""


class RuntimeConfig(Config):
    """The machine. Resolved once at the start of a run and recorded; the bits of a model depend on it."""

    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu, cuda or cuda:N")
    threads: int = Field(2, ge=1, le=1024, description="CPU threads; another number gives other bits")


class SplitShares(Config):
    """Which share of the healthy patients goes where, drawn by a fixed hash of the patient."""

    train: float = Field(0.7, ge=0, le=1, description="trained on")
    val: float = Field(0.1, ge=0, le=1, description="weights and scoring are chosen on")
    calibration: float = Field(0.1, ge=0, le=1, description="thresholds are set on")
    test: float = Field(0.1, ge=0, le=1, description="measured on")

    @model_validator(mode="after")
    def _sum_is_one(self) -> SplitShares:
        total = self.train + self.val + self.calibration + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the four shares add up to {total:g}, not to 1")
        return self


class FolderRules(Config):
    """Rules that say of each file in a folder what it is, in place of a manifest.

    Patterns are compared with a file's whole path, relative to the root: `*` stands for anything within a name, `**`
    for any folders. A file that no pattern of healthy or anomalous names is left aside.

    Abnormal images are tested on, and never trained on. Healthy ones go where a pattern says; where none does, their
    patient is drawn by `shares`, or follows images that have their place. A patient is in one split only.
    """

    ignored: tuple[str, ...] = Field((), description="patterns of files to leave aside (masks); they go first")
    healthy: tuple[str, ...] = Field(("**",), min_length=1, description="patterns of files that show healthy patients")
    anomalous: tuple[str, ...] = Field((), description="patterns of files that show abnormalities; before healthy")
    patient: str = Field(
        "dicom",
        description="what tells the patient: dicom (the header), file (each file is one), folder:N (the Nth folder of "
        "the path, from 1), or a regular expression on the path with a group (?P<patient>...)",
    )
    train: tuple[str, ...] = Field(
        (), description="patterns of files to train on; with them, healthy files that no split names are left aside"
    )
    val: tuple[str, ...] = Field((), description="patterns of files to choose weights and scoring on")
    calibration: tuple[str, ...] = Field((), description="patterns of files to set thresholds on")
    test: tuple[str, ...] = Field((), description="patterns of files to measure on")
    shares: SplitShares = SplitShares()

    @field_validator("patient")
    @classmethod
    def _patient_is_a_rule(cls, value: str) -> str:
        if value in ("dicom", "file") or re.fullmatch(r"folder:[1-9]\d?", value):
            return value
        try:
            groups = re.compile(value).groupindex
        except (re.error, RecursionError):
            groups = {}
        if "patient" not in groups:
            raise ValueError("this is none of dicom, file, folder:N, or a regular expression with (?P<patient>...)")
        return value


class DataConfig(Config):
    """Where one site's images are, and who is in which split: told by a manifest, or by rules for a folder."""

    site: str = Field(
        pattern=f"^{SITE_NAME.pattern}$", description="the site's id; only rows of the manifest with this site are used"
    )
    root: BesideFile | None = Field(None, description="data root, relative to this file; --data goes before it")
    manifest: Path = Field(Path("manifest.csv"), description="CSV of all images, relative to the data root")
    folder: FolderRules | None = Field(None, description="rules in place of a manifest")
    pictures: bool = Field(True, description="reports may show images of this site; false: numbers alone")


class LimitsConfig(Config):
    """What a site takes for fit."""

    max_lost: float = Field(0.02, ge=0, le=1, description="largest share of its images that may be unreadable or unfit")
    max_pixels: int = Field(1 << 26, ge=1, description="pictures with more pixels are refused from their header")
    max_voxels: int = Field(1 << 30, ge=1, description="volumes with more voxels are refused from their header")
    min_side: int = Field(32, ge=1, description="pictures with a shorter side, in pixels, are refused")
    burned_in: bool = Field(False, description="use DICOM images that say they carry burned-in text")
    hidden: bool = Field(False, description="look into hidden files and folders too")


DIGEST = re.compile("[0-9a-f]{64}")
"""SHA-256 as hex digits."""


class ServerConfig(Config):
    """The federation's server, and what it may have this site run."""

    address: str = Field(description="HOST:PORT")
    ca_certificate: BesideFile | None = Field(None, description="the consortium's CA (PEM), relative to this file")
    private_key: BesideFile | None = Field(None, description="this site's private key, relative to this file")
    allowed: tuple[str, ...] = Field(
        (), description="SHA-256 of app bundles that may run here; `ra-client allow` adds others"
    )

    @field_validator("address")
    @classmethod
    def _address_can_be_split(cls, value: str) -> str:
        split_address(value)
        return value

    @field_validator("allowed")
    @classmethod
    def _allowed_are_hashes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if not DIGEST.fullmatch(text):
                raise ValueError(f"'{text:.70}' is no SHA-256: 64 digits of 0-9 and a-f")
        return value


class SiteConfig(Config):
    """One hospital."""

    name: str = Field(description="the hospital's name, for people")
    anatomy: str = Field(description="for example brain, chest, hand")
    modality: str = Field(description="DICOM's code: CR, DX, CT, MR, ...")
    data: DataConfig
    limits: LimitsConfig = LimitsConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    policy: PolicyConfig = PolicyConfig()
    state: BesideFile | None = Field(None, description="folder for what is kept between rounds, relative to this file")
    server: ServerConfig | None = Field(None, description="address and certificates; without it the site stays alone")
    secure_aggregation: KeyringConfig | None = Field(
        None, description="keys of secure aggregation; without them the site takes part in no study that has it"
    )
