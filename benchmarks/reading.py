"""Memory and speed of a scan and of scoring: peak RSS over few and over many generated images, each in its process."""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from looks import this_machine
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from client.score.folder import ScoreFolder
from client.score.stream import score_all
from client.score.table import Table
from ra_core.artifact import Artifact, Card, model_hash
from ra_core.config import LimitsConfig, PreprocessingConfig, RuntimeConfig
from ra_core.data.scan import ScanRules, scan
from ra_core.finding import find
from ra_core.model import Model
from ra_core.models.configs import RAConfig
from ra_core.models.registry import build_method
from ra_core.runtime import Runtime

SIDE, DEPTH = 96, 10
"""Side of a picture in pixels, and slices of a volume."""

THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[500, 5000], help="of each run, multiples of 20")
    parser.add_argument("--work", nargs="+", choices=WORK, default=list(WORK))
    parser.add_argument("--alone", action="store_true", help="one run in this process, which prints its peak")
    given = parser.parse_args()
    if given.alone:
        one(given.work[0], given.images[0])
        return
    print(this_machine(THREADS, "numpy", "pillow", "pydicom", "nibabel"))
    for work in given.work:
        peaks = {count: in_a_process(work, count) for count in given.images}
        few, many = min(peaks), max(peaks)
        print(f"{work}: {many} images take {peaks[many] / peaks[few]:.2f} times the memory of {few}")


def in_a_process(work, count):
    """MiB at the peak; its speed is printed."""
    command = [sys.executable, __file__, "--alone", "--work", work, "--images", str(count)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
    said, peak = done.stdout.splitlines()
    print(said, flush=True)
    return float(peak)


def one(work, count):
    """Write the images, work on them, and print speed and peak."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "in", count)
        begun = time.perf_counter()
        WORK[work](folder, count)
        seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{work} of {count:5d} images: peak {peak:6.0f} MiB, {count / seconds:6.1f} images a second")
    print(peak)


def write(folder, count):
    """Of ten images three are DICOM slices of a series, two are PNG, and five are slices of a NIfTI volume."""
    rng = np.random.default_rng(0)
    for block in range(count // (2 * DEPTH)):
        place = folder / f"{block:04d}"
        place.mkdir(parents=True)
        stack = np.stack([head(rng) for _ in range(DEPTH)])
        nib.save(nib.Nifti1Image(stack.T, np.eye(4)), place / "v.nii.gz")
        for number in range(6):
            write_dicom(place / f"{number}.dcm", head(rng), block, number)
        for number in range(4):
            Image.fromarray(head(rng)).save(place / f"{number}.png")


def head(rng):
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    inside = np.hypot(rows, columns) < SIDE / 2.5 + rng.uniform(-3, 3)
    return (inside * rng.normal(1000, 100, (SIDE, SIDE))).clip(0).astype(np.uint16)


def write_dicom(path, pixels, block, number):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    ds.PatientID, ds.StudyInstanceUID, ds.SeriesInstanceUID = f"P{block}", f"1.2.{block}", f"1.2.{block}.1"
    ds.Modality, ds.RescaleSlope, ds.RescaleIntercept, ds.PixelSpacing = "CT", 1, 0, [1, 1]
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 5 * number], [1, 0, 0, 0, 1, 0]
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = *pixels.shape, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.PixelData = pixels.tobytes()
    ds.save_as(path, enforce_file_format=True)


def scan_all(folder, count):
    found = scan(folder / "in", ScanRules(), PreprocessingConfig(size=64), cache=folder / "cache")
    expect(count, sum(len(entry.pictures) for entry in found.accepted))


def score(folder, count):
    model = untrained()
    items = find([folder / "in"], model.terms)
    table = Table(folder / "scores.csv", model.identity)
    score_all(model, items, table, ScoreFolder(folder / "out"), lambda _done: None, lambda: False)
    expect(count, sum(row.slices_scored for row in table.rows))


def expect(count, found):
    if found != count:
        raise SystemExit(f"{found} images of {count}")


def untrained():
    config = RAConfig(channels=(8, 16, 32), latent=32)
    method = build_method(config, 64, 0).eval()
    card = Card(
        method=config,
        preprocessing=PreprocessingConfig(size=64),
        seed=0,
        arm="local",
        steps=0,
        rounds=0,
        selected=0,
        sites=(),
        anatomy="",
        modality="",
        data=(),
        runtime={},
        software={},
        metrics=(),
        model_hash=model_hash(method),
    )
    device = Runtime.resolve(RuntimeConfig(threads=THREADS), "fp32").device
    return Model(Artifact(method, card), None, None, device, LimitsConfig())


WORK = {"scan": scan_all, "score": score}


if __name__ == "__main__":
    main()
