from pathlib import Path

import nibabel as nib
import numpy as np
import PIL.Image
import pytest
from dicoms import write_dicom
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ra_core.config import LimitsConfig, PreprocessingConfig
from ra_core.data import load_image, prepare, read_pixels
from ra_core.data.readers import Reading
from ra_core.errors import DataError

CONFIG = PreprocessingConfig(size=64)
TINY = LimitsConfig(min_side=1)


def as_nifti(path: Path, pixels: NDArray[np.uint16]) -> Path:
    nib.save(nib.Nifti1Image(pixels.T[::-1, ::-1, None], np.eye(4)), path)
    return path


def as_png(path: Path, pixels: NDArray[np.uint16]) -> Path:
    PIL.Image.fromarray(pixels).save(path)
    return path


@settings(max_examples=25, deadline=None)
@given(
    arrays(np.uint16, st.tuples(st.integers(2, 40), st.integers(2, 40)), elements=st.integers(0, 65535)).filter(
        lambda x: x.min() < x.max()
    )
)
def test_the_same_pixels_give_the_same_image_in_every_format(
    tmp_path_factory: pytest.TempPathFactory, pixels: NDArray[np.uint16]
) -> None:
    folder = tmp_path_factory.mktemp("a")
    files = [
        write_dicom(folder / "a.dcm", pixels, PixelSpacing=[1, 1]),
        as_nifti(folder / "a.nii", pixels),
        as_nifti(folder / "a.nii.gz", pixels),
        as_png(folder / "a.png", pixels),
    ]
    images = [load_image(file, CONFIG, limits=TINY) for file in files]
    assert [image.kind for image in images] == ["dicom", "nifti", "nifti", "raster"]
    for image in images:
        np.testing.assert_array_equal(image.pixels, images[-1].pixels)
        assert image.geometry == images[-1].geometry


def test_an_image_is_the_prepared_picture(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 9999, (80, 50), dtype=np.uint16)
    file = as_png(tmp_path / "a.png", pixels)
    image = load_image(file, CONFIG)
    again = prepare(read_pixels(file), CONFIG)
    np.testing.assert_array_equal(image.pixels, again.pixels)
    assert (image.pixels.shape, image.pixels.dtype) == ((1, 64, 64), np.float32)
    assert (image.spacing, image.kind, image.geometry.shape) == (None, "raster", (80, 50))
    square = write_dicom(tmp_path / "a.dcm", pixels, PixelSpacing=[1, 1])
    assert load_image(square, CONFIG).spacing == (80 / 64, 80 / 64)


def test_the_sites_limits_hold(tmp_path: Path) -> None:
    file = as_png(tmp_path / "a.png", np.arange(31 * 40, dtype=np.uint16).reshape(31, 40))
    with pytest.raises(DataError, match="too few"):
        load_image(file, CONFIG)
    assert load_image(file, CONFIG, limits=TINY).pixels.max() > 0.9
    with pytest.raises(DataError, match="too many"):
        load_image(file, CONFIG, limits=LimitsConfig(min_side=1, max_pixels=1000))


def test_the_frame_is_the_one_asked(tmp_path: Path) -> None:
    voxels = np.zeros((40, 40, 3), np.int16)
    for index in range(3):
        voxels[10 * index : 10 * index + 10, :10, index] = 100
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii")
    found = [load_image(tmp_path / "a.nii", CONFIG, frame).pixels[0] for frame in range(3)]
    centres = [np.average(np.arange(64), weights=image.sum(0)) for image in found]
    assert centres == sorted(centres, reverse=True)  # the body's right side is on the left
    with pytest.raises(DataError):
        load_image(tmp_path / "a.nii", CONFIG, 3)


def test_pixels_that_are_not_square_keep_their_proportions(shared: Path) -> None:
    path = shared / "cases" / "imaging" / "11_orientation_and_spacing" / "nonsquare_pixels.dcm"
    raw = read_pixels(path, Reading())
    assert raw.pixels.shape == (160, 60)
    assert raw.spacing == pytest.approx((0.2, 0.4))
    scaled = (raw.pixels - raw.pixels.min()) / np.ptp(raw.pixels)
    bright = [scaled[at] for at in ((12, 9), (64, 30), (107, 33))]
    dark = [scaled[at] for at in ((76, 18), (153, 57), (6, 57))]
    assert min(bright) - max(dark) > 0.2
    image = load_image(path, PreprocessingConfig(size=128))
    assert image.geometry.squared == (160, 120)
    assert image.geometry.squared[0] / image.geometry.squared[1] == pytest.approx(1.3333, abs=1e-4)
    assert image.spacing == pytest.approx((0.25, 0.25))
    everything = image.geometry.to_square(np.ones((160, 60), np.bool_))
    rows, columns = (np.ptp(np.flatnonzero(everything.any(axis))) + 1 for axis in (1, 0))
    assert rows / columns == pytest.approx(1.3333, abs=0.02)
