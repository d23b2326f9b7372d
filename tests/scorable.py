"""Small studies on disk, and models that need no training, for the tests of scoring."""

from pathlib import Path

import artifacts
import dicoms
import nibabel as nib
import numpy as np
import pydicom
import torch
from PIL import Image
from pydicom.uid import CTImageStorage
from scipy.ndimage import gaussian_filter

from ra_core.artifact import Artifact
from ra_core.calibration import Calibration
from ra_core.calibration.image_threshold import ImageThreshold
from ra_core.calibration.watching import Tallies
from ra_core.data.readers.reading import USUAL_LIMITS
from ra_core.model import Model
from ra_core.models.method import Reconstruction
from ra_core.scoring import ScoringConfig
from ra_core.thresholds import Promise

PLAIN = ScoringConfig(name="plain", factors=("residual",))
PATIENT = "Meyer-Lücke^Rosalinde"
CPU = torch.device("cpu")


class Blur(Reconstruction):
    """A method whose twin is the blurred image: its map is brightest where a small spot is."""

    def reconstruct(self, x):
        return torch.from_numpy(gaussian_filter(x.numpy(), (0, 0, 3, 3)))

    def shared_parts(self):
        return {}


def new_artifact(size=64, anatomy="", modality="", **preprocessing):
    where = {"arm": "local", "steps": 1, "rounds": 1, "selected": 1, "sites": ("x",)}
    return artifacts.new_artifact(
        size, preprocessing=preprocessing, seed=1, anatomy=anatomy, modality=modality, **where
    )


def promised(unit, value, n=40, rate=0.05, **facts):
    """An image threshold that was set on so many patients."""
    usual = {"low": 0.01, "high": 0.13} if value is not None else {"note": "not enough patients: 4 of 19 needed"}
    return ImageThreshold(value=value, rate=rate, unit=unit, n=n, **usual | facts)


def new_calibration(artifact, image=0.01, pixel=0.05, scoring=PLAIN, healthy=None, perceptual=("", ""), **facts):
    """Of a site 'north'; `image` is the threshold of pictures by themselves, and of volumes unless `study` is given."""
    found = {
        "site": "north",
        "scoring": scoring,
        "pixel": Promise(value=pixel, rate=0.05, unit="pixel", n=40),
        "slice": promised("slice", image),
        "study": promised("study", image),
        "pictures": (1, 9),
        "usual": Tallies(),
        "mean_picture": np.zeros((32, 32), np.uint8),
        "perceptual_net": perceptual[0],
        "perceptual_hash": perceptual[1],
        "model_hash": artifact.card.model_hash,
        "healthy": healthy,
    }
    return Calibration(**found | facts)


def blur_model(image=0.01, calibrated=True, size=64, limits=USUAL_LIMITS, any_part=False, kept=None, **card):
    """A model whose map is the difference between an image and itself blurred; `image` is its threshold.

    `kept` is what else its calibration has.
    """
    artifact = new_artifact(size, **card)
    calibration = new_calibration(artifact, image, **kept or {}) if calibrated else None
    return Model(Artifact(Blur(), artifact.card), calibration, None, CPU, limits, any_part)


def ball(shape, centre, radius=2.0):
    return sum((g - c) ** 2 for g, c in zip(np.indices(shape), centre, strict=True)) <= radius**2


def head(shape, seed=0):
    """A soft ellipsoid of uint16 numbers with texture, dark around."""
    rng = np.random.default_rng(seed)
    places = [(g - (n - 1) / 2) / (0.45 * n) for g, n in zip(np.indices(shape), shape, strict=True)]
    inside = sum(place**2 for place in places) < 1
    return (inside * (500 + gaussian_filter(rng.normal(0, 200, shape), 2))).clip(0, 4000).round().astype(np.uint16)


def heads(count, shape=(70, 60)):
    """A stack of them, no two alike."""
    return np.stack([head(shape, seed) for seed in range(count)])


def ramp(shape):
    """A picture or volume that changes too smoothly to have a map of its own; uint16."""
    return (500 + sum(4 * place for place in np.indices(shape))).astype(np.uint16)


def write_png(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_nifti(path, voxels, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)
    return path


def as_nifti(stack):
    """Voxels, on axes to right, front and head, of a stack of axial pictures (D, H, W) from feet to head."""
    return np.ascontiguousarray(stack.transpose(2, 1, 0)[::-1, ::-1])


def write_dicom(path, pixels, position=None, series="1.2.3.4", number=1, **tags):
    """A CT slice without a rescale: what is stored is what is read. It has none of the tags that are None."""
    said = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": f"{series}.{number}",
        "SpecificCharacterSet": "ISO_IR 100",
        "PatientName": PATIENT,
        "PatientID": "PID-4711",
        "PatientBirthDate": "19500101",
        "PatientSex": "F",
        "AccessionNumber": "ACC-99",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": series,
        "Modality": "CT",
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
        "PixelSpacing": [1, 1],
    }
    if position is not None:
        said["ImagePositionPatient"], said["ImageOrientationPatient"] = [0, 0, position], [1, 0, 0, 0, 1, 0]
        said["FrameOfReferenceUID"] = "1.2.3.99"
    missing = [name for name, value in tags.items() if value is None]
    path.parent.mkdir(parents=True, exist_ok=True)
    with pydicom.config.disable_value_validation():
        return dicoms.write_dicom(path, pixels.astype("<u2"), without=missing, **said | tags)


def write_series(folder, stack, series="1.2.3.4", spacing=3.0, **tags):
    """Slices (D, H, W) from feet to head, under names that tell nothing of their order."""
    return [
        write_dicom(Path(folder) / f"IM{(place * 7) % 101:04d}", pixels, place * spacing, series, place + 1, **tags)
        for place, pixels in enumerate(stack)
    ]
