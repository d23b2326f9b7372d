"""`ra-client score` as a process: a mixed folder, its exit codes, and going on after SIGKILL."""

import csv
import sys

import numpy as np
import pydicom
import pytest
from scorable import (
    as_nifti,
    head,
    heads,
    new_artifact,
    new_calibration,
    write_dicom,
    write_nifti,
    write_png,
    write_series,
)

from ra_core.artifact import save_artifact
from ra_core.calibration import save_calibration

CLIENT = (sys.executable, "-c", "from client.cli import main; main()")


@pytest.fixture
def score(desk):
    """The command line of a scoring of `in` into a folder."""
    artifact = new_artifact(64)
    save_artifact(desk.folder / "model", artifact)
    save_calibration(desk.folder / "model", new_calibration(artifact))
    return lambda out: ("score", "--model", "model", "--out", out, "--threads", "1", "in")


@pytest.fixture
def mixed(desk):
    """A picture, a film, a series and a volume."""
    folder = desk.folder / "in"
    write_png(folder / "a.png", head((70, 60)))
    write_dicom(folder / "b.dcm", head((70, 60), 1), series="1.2.9")
    write_series(folder / "c", heads(4))
    write_nifti(folder / "d.nii.gz", as_nifti(heads(3)), np.diag([-1.0, 1, 2, 1]))
    (folder / "note.txt").write_text("no image")
    return folder


def rows(folder):
    path = folder / "scores.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files(folder):
    """By their names; of DICOM the pixels, as the rest tells when it was made."""
    return {str(path.relative_to(folder)): content(path) for path in folder.rglob("*") if path.is_file()}


def content(path):
    return pydicom.dcmread(path).PixelData if path.suffix == ".dcm" else path.read_bytes()


def test_a_mixed_folder_a_damaged_file_and_sigkill(desk, score, mixed, start_until):
    whole = desk.run(*score("whole"), program=CLIENT)
    assert whole.code == 0, whole.stderr
    assert "4 scored" in whole.stderr
    assert [row["kind"] for row in rows(desk.folder / "whole")] == ["raster", "dicom", "dicom", "nifti", ""]

    process = start_until(desk, lambda: len(rows(desk.folder / "killed")) >= 1, *score("killed"), program=CLIENT)
    process.kill()
    process.communicate()
    assert not (desk.folder / "killed/index.html").exists(), "it was done before it was killed"
    again = desk.run(*score("killed"), program=CLIENT)
    assert again.code == 0, again.stderr
    assert "known from before" in again.stderr
    assert files(desk.folder / "killed") == files(desk.folder / "whole")

    (mixed / "e.dcm").write_bytes((mixed / "b.dcm").read_bytes()[:-99])
    damaged = desk.run(*score("whole"), program=CLIENT)
    assert damaged.code == 19
    assert "0 scored, 4 known from before" in damaged.stderr
    assert "1 × truncated" in damaged.stderr
    assert "e.dcm" not in damaged.stderr
    assert rows(desk.folder / "whole")[-1]["reason"] == "truncated"
