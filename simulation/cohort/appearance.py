"""What a hospital's scanner makes of an anatomy: tissue contrast, blur, uneven sensitivity, noise."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from simulation.cohort.anatomy import Anatomy
from simulation.cohort.config import HospitalConfig
from simulation.cohort.fields import Array, smooth_field

__all__ = ["CONTRASTS", "Contrast", "Scanner", "acquire", "draw_scanner", "paint"]


@dataclass(frozen=True)
class Contrast:
    """A kind of image.

    Attributes:
        modality: DICOM's code.
        greys: of fluid, grey matter, white matter, bone, marrow and scalp.
        detail: how much of the T1 template's own detail shows; negative where bright and dark are swapped.
        air: grey of air, before the window cuts it off at 0.
        gain: deviation of the brightness from patient to patient; 0 where greys are calibrated, as in CT.
    """

    modality: str
    greys: tuple[float, float, float, float, float, float]
    detail: float
    air: float
    gain: float


CONTRASTS = {
    "t1": Contrast("MR", (0.13, 0.43, 0.63, 0.07, 0.30, 0.72), 0.8, 0.0, 0.06),
    "t2": Contrast("MR", (0.80, 0.46, 0.31, 0.05, 0.22, 0.50), -0.6, 0.0, 0.06),
    "flair": Contrast("MR", (0.10, 0.50, 0.40, 0.06, 0.25, 0.55), -0.4, 0.0, 0.06),
    "ct": Contrast("CT", (0.14, 0.44, 0.35, 1.00, 0.95, 0.16), -0.15, -0.5, 0.0),  # window: level 35, width 80 HU
}


@dataclass(frozen=True)
class Scanner:
    """One hospital's scanner, the same for all of its patients.

    Attributes:
        contrast: the kind of its images.
        greys: float64 (6,), the contrast's greys as this hospital's protocol has them.
        sensitivity: float64 (size, size), positive, mean near 1.
        blur_mm: deviation of the blur.
        noise: deviation of the noise.
    """

    contrast: Contrast
    greys: Array
    sensitivity: Array
    blur_mm: float
    noise: float


def draw_scanner(hospital: HospitalConfig, size: int, rng: np.random.Generator) -> Scanner:
    """The hospital's own variant of its contrast, and its coil's sensitivity."""
    contrast = CONTRASTS[hospital.contrast]
    greys = np.array(contrast.greys) * rng.normal(1, 0.03, size=6)
    if hospital.skull_stripped:
        greys[3:] = 0
    sensitivity = np.exp(hospital.bias * smooth_field(rng, size, 4))
    return Scanner(contrast, greys, sensitivity, hospital.blur_mm, hospital.noise)


def paint(anatomy: Anatomy, scanner: Scanner, rng: np.random.Generator) -> Array:
    """The slice as the scanner's contrast shows it, blurred but even and without noise: float64 (size, size).

    Draws the patient's own tissue greys and a faint texture.
    """
    greys = scanner.greys * rng.normal(1, 0.02, size=6)
    air = scanner.contrast.air * (1 - anatomy.tissues.sum(axis=0))
    image = np.tensordot(greys, anatomy.tissues, axes=1) + air + scanner.contrast.detail * anatomy.detail
    image *= 1 + 0.02 * smooth_field(rng, len(image), 24)
    blurred: Array = ndimage.gaussian_filter(image, scanner.blur_mm / anatomy.spacing_mm)
    return blurred


def acquire(clean: Array, scanner: Scanner, rng: np.random.Generator) -> Array:
    """What the scanner delivers of `clean` (size, size): float64 in [0, 1].

    Magnitude images of MR have Rician noise (Gudbjartsson and Patz, 1995, doi:10.1002/mrm.1910340618), CT's is normal.
    The draws don't depend on `clean`: where two images are equal before, they are equal after.
    """
    size = len(clean)
    gain = rng.normal(1, scanner.contrast.gain)
    position = np.exp(0.02 * smooth_field(rng, size, 3)) if scanner.contrast.modality == "MR" else 1.0
    signal = clean * gain * scanner.sensitivity * position
    real, imaginary = scanner.noise * rng.standard_normal((2, size, size), dtype=np.float32).astype(np.float64)
    noisy = np.hypot(signal + real, imaginary) if scanner.contrast.modality == "MR" else signal + real
    image: Array = np.clip(noisy, 0, 1)
    return image
