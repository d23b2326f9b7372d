"""A cohort on disk: images, masks, one manifest, and a site config for every hospital."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ra_core.config import SiteConfig
from ra_core.data.manifest import COLUMNS, manifest_bytes
from ra_core.errors import DataError
from ra_core.settings import commented_yaml
from simulation.cohort.appearance import CONTRASTS
from simulation.cohort.config import CohortConfig, HospitalConfig
from simulation.cohort.patient import GROUPS, VirtualPatient, virtual_patient

__all__ = ["write_cohort"]

_SOURCE = "virtual hospital, from the MNI152 template (ICBM 2009a) in nilearn"


def write_cohort(config: CohortConfig, out: Path, progress: Callable[[int, int], None] | None = None) -> Path:
    """Writes `out`/manifest.csv, `out`/site_configs/SITE.yaml and the images, 8-bit grey PNG; masks are 1-bit PNG.

    With the same versions of numpy, scipy and nilearn the same config gives the same pixels on every processor, with
    the same Pillow the same bytes. All is made in a folder beside `out` and moved at the end: `out` is complete or as
    it was.

    Args:
        config: the hospitals.
        out: a folder that is empty or not there yet.
        progress: called after each patient with the number done and the number in all.

    Returns:
        The manifest's path.

    Raises:
        ConfigError: nilearn is not installed.
        DataError: `out` holds something already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: not an empty folder", hint="choose a new folder, or empty this one")
    out.resolve().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.resolve().parent, prefix=f".{out.resolve().name}.") as folder:
        made = Path(folder, "cohort")  # the folder around it is its owner's alone; this one has the usual rights
        _write(config, made, progress)
        made.replace(out.resolve())  # also over an empty folder
    return out / "manifest.csv"


def _write(config: CohortConfig, out: Path, progress: Callable[[int, int], None] | None) -> None:
    todo = [(h, group, index) for h in config.hospitals for group in GROUPS for index in range(getattr(h, group))]
    rows = []
    for done, (hospital, group, index) in enumerate(todo, start=1):
        split, _, label = group.partition("_")
        folder = Path(hospital.name, split, label or "healthy")
        patient = virtual_patient(config, hospital, group, index)
        rows.append(_write_patient(patient, hospital, out, folder))
        if progress:
            progress(done, len(todo))
    for hospital in config.hospitals:
        _write_site(hospital, out / "site_configs")
    (out / "manifest.csv").write_bytes(manifest_bytes(rows))


def _write_patient(patient: VirtualPatient, hospital: HospitalConfig, out: Path, folder: Path) -> dict[str, str]:
    """Writes a patient's image and mask; returns the row of the manifest."""
    (out / folder).mkdir(parents=True, exist_ok=True)
    path = folder / f"{patient.name}.png"
    _save(out / path, np.rint(patient.image * 255).astype(np.uint8))
    row = dict.fromkeys(COLUMNS, "") | {
        "path": path.as_posix(),
        "site": hospital.name,
        "anatomy": "brain",
        "modality": CONTRASTS[hospital.contrast].modality,
        "split": folder.parts[1],
        "label": folder.parts[2],
        "patient_id": patient.name,
        "source": _SOURCE,
    }
    if patient.lesion:
        mask = folder / f"{patient.name}_mask.png"
        _save(out / mask, patient.lesion.mask)
        row |= {"pathology": patient.lesion.description, "lesion_mask": mask.as_posix()}
    return row


def _save(path: Path, pixels: NDArray[np.uint8] | NDArray[np.bool_]) -> None:
    Image.fromarray(pixels).save(path)


def _write_site(hospital: HospitalConfig, folder: Path) -> None:
    """Writes the hospital's site config; its manifest is relative to the cohort's folder."""
    folder.mkdir(exist_ok=True)
    modality = CONTRASTS[hospital.contrast].modality
    site = {"name": hospital.name, "anatomy": "brain", "modality": modality, "data": {"site": hospital.name}}
    text = commented_yaml(SiteConfig, site)
    (folder / f"{hospital.name}.yaml").write_text(text, encoding="utf-8")
