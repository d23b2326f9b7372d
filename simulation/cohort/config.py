"""Settings of the virtual hospitals."""

from typing import Literal

from pydantic import Field, field_validator

from ra_core.settings import Config

__all__ = ["CohortConfig", "HospitalConfig"]


class HospitalConfig(Config):
    """One virtual hospital: how its images look and how many patients it has, one slice each."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="the site's name, also a folder's name")
    contrast: Literal["t1", "t2", "flair", "ct"] = Field(description="which tissues are bright")
    train: int = Field(400, ge=1, description="healthy patients to train on")
    val: int = Field(40, ge=1, description="healthy patients to validate on and to calibrate thresholds with")
    test_healthy: int = Field(60, ge=0, description="healthy patients to test on")
    test_anomalous: int = Field(60, ge=0, description="patients with a lesion to test on")
    noise: float = Field(0.02, ge=0, le=0.2, description="standard deviation of the noise; the grey range is 1")
    blur_mm: float = Field(0.9, ge=0, le=5, description="standard deviation of the scanner's blur")
    bias: float = Field(0.12, ge=0, le=0.5, description="unevenness of the coil's sensitivity, a share of the signal")
    skull_stripped: bool = Field(True, description="show the brain alone, without skull and scalp")


class CohortConfig(Config):
    """Some virtual hospitals, made from one seed."""

    hospitals: tuple[HospitalConfig, ...] = Field(
        (
            HospitalConfig(name="mr_t1", contrast="t1"),
            HospitalConfig(name="mr_t2", contrast="t2", noise=0.025, blur_mm=0.6),
            HospitalConfig(name="mr_flair", contrast="flair", noise=0.02, blur_mm=1.0, bias=0.18),
            HospitalConfig(name="ct", contrast="ct", noise=0.035, blur_mm=0.8, bias=0.0),
        ),
        min_length=1,
        description="the hospitals; names differ",
    )
    size: int = Field(128, ge=64, le=512, description="side of the square image, in pixels")
    seed: int = Field(0, ge=0, description="of patients, scanners and lesions")

    @field_validator("hospitals")
    @classmethod
    def _names_differ(cls, hospitals: tuple[HospitalConfig, ...]) -> tuple[HospitalConfig, ...]:
        names = [hospital.name for hospital in hospitals]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two hospitals are called {twice[0]!r}")
        return hospitals
