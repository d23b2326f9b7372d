"""Public failure cases 01 to 09 and the DICOM file of 11, and real files: what is read, and with which numbers."""

import hashlib
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from pydicom.data import get_testdata_file

from ra_core.config import PreprocessingConfig, WindowName
from ra_core.data import load_image
from ra_core.data.readers import Note, Reading, Reason, Source, Turn, open_source, usable
from ra_core.errors import DataError

CASES = [
    "01_dx_monochrome1",
    "02_window_values",
    "03_ct_rescale_signed",
    "04_overlay_in_high_bits",
    "05_compressed",
    "06_broken_dicom",
    "07_not_images",
    "08_enhanced_multiframe",
    "09_colour",
    "11_orientation_and_spacing",
]
NICOM = Path(nibabel.__file__).parent / "nicom" / "tests" / "data"


def open_(path: Path, window: WindowName = "none") -> Source:
    return open_source(path, Reading(window=window))


def pixels(path: Path, window: WindowName = "none") -> NDArray[np.float32]:
    return open_(path, window).picture(0).pixels


def code(path: Path) -> str:
    try:
        source = open_(path)
        usable(source)
    except DataError as error:
        return error.code
    return ""


@pytest.fixture(scope="module")
def cases(shared: Path) -> dict[str, dict[str, dict]]:
    """By id and name of file, what cases.yaml says of the DICOM files."""
    folder = shared / "cases" / "imaging"
    told = yaml.safe_load((folder / "cases.yaml").read_text(encoding="utf-8"))["cases"]
    return {
        case["id"]: {
            file["file"]: file | {"path": folder / case["id"] / file["file"]}
            for file in case["files"]
            if ".nii" not in file["file"]
        }
        for case in told
    }


def assert_probes(image: NDArray[np.float32], probes: dict[str, list[list[int]]]) -> None:
    scaled = (image - image.min()) / np.ptp(image)
    bright, dark = ([scaled[tuple(at)] for at in probes[kind]] for kind in ("bright", "dark"))
    assert min(bright) >= max(dark) + 0.2


@pytest.mark.parametrize("case", CASES)
def test_every_file_is_read_or_refused_as_told(cases: dict[str, dict[str, dict]], case: str) -> None:
    for name, file in cases[case].items():
        told = {"accept": {""}, "skip": {file.get("reason")}}.get(file["outcome"], {"", file.get("reason")})
        assert code(file["path"]) in told, name
        if not code(file["path"]) and "expect" in file:
            expect = file["expect"]
            for window in ("none", "file"):
                image = pixels(file["path"], window)
                assert image.shape == tuple(expect["shape"]), name
                if "probes" in expect:
                    assert_probes(image, expect["probes"])
            stored = pixels(file["path"])
            if "stored_sha256" in expect:
                digest = hashlib.sha256(stored.astype("<u2").tobytes()).hexdigest()
                assert digest == expect["stored_sha256"], name
            for probe in expect.get("modality_values", ()):
                assert stored[tuple(probe["at"])] == pytest.approx(probe["value"], abs=probe.get("tolerance", 0.5))


def test_01_four_radiographs_agree(cases: dict[str, dict[str, dict]]) -> None:
    config = PreprocessingConfig(size=64)
    images = [load_image(file["path"], config).pixels.ravel() for file in cases["01_dx_monochrome1"].values()]
    assert np.corrcoef(images).min() >= 0.99


def test_02_windows_that_are_not_applied_are_told(cases: dict[str, dict[str, dict]]) -> None:
    noted = {name for name, file in cases["02_window_values"].items() if open_(file["path"], "file").picture(0).notes}
    assert noted == {"zero_width.dcm", "outside.dcm"}


def test_03_padding_is_background_and_doubts_are_told(cases: dict[str, dict[str, dict]]) -> None:
    files = {name: file["path"] for name, file in cases["03_ct_rescale_signed"].items()}
    padded = pixels(files["signed_padding.dcm"])
    assert (padded.min(), padded.max()) == (-1000, 1200)
    assert padded[0, 0] == -1000
    wrong = open_(files["wrong_pixel_representation.dcm"]).picture(0)
    assert wrong.notes == (Note.SIGN_PUT_RIGHT,)
    assert wrong.pixels.max() < 4096
    assert Note.NOT_IN_HOUNSFIELD in open_(files["rescale_empty.dcm"]).facts.notes
    with pytest.raises(DataError, match="Hounsfield"):
        open_(files["rescale_empty.dcm"], "brain")
    brain = pixels(files["signed_padding.dcm"], "brain")
    assert (brain.min(), brain.max()) == (0, 80)


def test_05_the_lossless_files_are_equal_and_the_lossy_one_is_near(cases: dict[str, dict[str, dict]]) -> None:
    files = cases["05_compressed"]
    reference = pixels(files["reference_native.dcm"]["path"])
    lossless = ["rle.dcm", "jpeg2000_lossless.dcm", "jpegls_lossless.dcm", "jpeg_lossless_sv1.dcm"]
    for name in lossless:
        np.testing.assert_array_equal(pixels(files[name]["path"]), reference, err_msg=name)
    lossy = files["jpeg_baseline_8bit.dcm"]
    assert np.corrcoef(pixels(lossy["path"]).ravel(), reference.ravel())[0, 1] > 0.999
    with pytest.raises(DataError, match=r"MPEG-4"):
        open_(files["mpeg4_video.dcm"]["path"])


def test_06_doubts_are_told(cases: dict[str, dict[str, dict]]) -> None:
    files = cases["06_broken_dicom"]
    assert open_(files["no_preamble.dcm"]["path"]).facts.notes == (Note.NO_PREAMBLE,)
    assert open_(files["no_transfer_syntax.dcm"]["path"]).facts.notes == (Note.NO_TRANSFER_SYNTAX,)


def test_07_counts(cases: dict[str, dict[str, dict]]) -> None:
    codes = Counter(code(file["path"]) for file in cases["07_not_images"].values())
    assert codes == {"": 1, Reason.NOT_AN_IMAGE: 6}


def test_08_frames_are_scaled_each_and_ordered_in_space(cases: dict[str, dict[str, dict]]) -> None:
    file = cases["08_enhanced_multiframe"]["enhanced_mr.dcm"]
    source, expect = open_(file["path"]), file["expect"]
    assert source.facts.frames == expect["frames"]
    assert list(source.facts.positions or ()) == sorted(source.facts.positions or ())
    for probe in expect["modality_values_in_spatial_order"]:
        picture = source.picture(probe["z_index"])
        assert picture.pixels[tuple(probe["at"])] == pytest.approx(probe["value"], abs=0.5)


@pytest.mark.parametrize("case", ["08_enhanced_multiframe", "10_series_geometry"])
def test_axial_slices_stay_as_they_are_stored(cases: dict[str, dict[str, dict]], case: str) -> None:
    turns = {open_(file["path"]).facts.turn for file in cases[case].values() if file["outcome"] == "accept"}
    assert turns == {Turn()}


def test_09_grey_is_the_same_in_every_colour_space(cases: dict[str, dict[str, dict]]) -> None:
    files = cases["09_colour"]
    grey, ybr, palette = (
        pixels(files[name]["path"]).ravel()
        for name in ("rgb_grey.dcm", "ybr_422_jpeg.dcm", "palette_inverted_ramp.dcm")
    )
    assert np.corrcoef([grey, ybr, palette]).min() > 0.99
    with pytest.raises(DataError, match="colour"):
        open_(files["rgb_real_colour.dcm"]["path"]).picture(0)


def test_11_spacing_is_between_rows_then_columns(cases: dict[str, dict[str, dict]]) -> None:
    file = cases["11_orientation_and_spacing"]["nonsquare_pixels.dcm"]
    facts = open_(file["path"]).facts
    assert facts.spacing is not None
    size = np.multiply(facts.shape, facts.spacing)
    np.testing.assert_allclose(size, file["expect"]["physical_size_mm"])


# Files that come with the libraries


def wheel(name: str) -> Path:
    return Path(str(get_testdata_file(name, download=False)))


@pytest.mark.parametrize(
    ("name", "shape", "low", "high"),
    [
        ("CT_small.dcm", (128, 128), -896, 1167),
        ("MR_small.dcm", (64, 64), 127, 2145),
        ("dicomdirtests/77654033/CR1/6154", (16, 16), 1563.9, 2116.6),
        ("J2K_pixelrep_mismatch.dcm", (512, 512), -1024, 1896),
        ("693_J2KI.dcm", (512, 512), -1024, 1812),
        ("examples_overlay.dcm", (300, 484), 0, 1123),
        ("image_dfl.dcm", (512, 512), 0, 255),
    ],
)
def test_real_files_that_are_read(name: str, shape: tuple[int, int], low: float, high: float) -> None:
    image = pixels(wheel(name))
    assert image.shape == shape
    assert image.min() == pytest.approx(low, abs=0.1)
    assert image.max() == pytest.approx(high, abs=0.1)


@pytest.mark.parametrize("kind", ["RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian", "implicit", "expb", "padded"])
def test_one_mr_in_many_encodings(kind: str) -> None:
    np.testing.assert_array_equal(pixels(wheel(f"MR_small_{kind}.dcm")), pixels(wheel("MR_small.dcm")))
    assert (Note.EXTRA_BYTES in open_(wheel(f"MR_small_{kind}.dcm")).facts.notes) == (kind == "padded")


def test_the_first_window_of_a_real_file_is_applied() -> None:
    image = pixels(wheel("examples_overlay.dcm"), "file")
    assert (image.min(), image.max()) == (450 - 0.5 - 789 / 2, 450 - 0.5 + 789 / 2)


def test_a_real_monochrome1_film_is_inverted() -> None:
    path = wheel("dicomdirtests/77654033/CR1/6154")
    with pytest.raises(DataError) as caught:
        open_source(path, Reading(min_side=32)).picture(0)
    assert caught.value.code == Reason.TOO_SMALL


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MR_truncated.dcm", Reason.TRUNCATED),
        ("JPEG-lossy.dcm", Reason.NO_DECODER),
        ("examples_ybr_color.dcm", Reason.COLOUR_IMAGE),
        ("examples_palette.dcm", Reason.COLOUR_IMAGE),
        ("SC_rgb_small_odd.dcm", Reason.COLOUR_IMAGE),
        ("liver_1frame.dcm", Reason.NOT_AN_IMAGE),
        ("rtdose.dcm", Reason.NOT_AN_IMAGE),
        ("badVR.dcm", Reason.NOT_AN_IMAGE),
        ("dicomdirtests/DICOMDIR", Reason.NOT_AN_IMAGE),
        ("test-SR.dcm", Reason.NOT_AN_IMAGE),
        ("rtstruct.dcm", Reason.NOT_AN_IMAGE),
        ("waveform_ecg.dcm", Reason.NOT_AN_IMAGE),
        ("no_meta.dcm", Reason.NOT_DICOM),
        ("meta_missing_tsyntax.dcm", Reason.DAMAGED),
        ("JPEG2000-embedded-sequence-delimiter.dcm", Reason.DAMAGED),
    ],
)
def test_real_files_that_are_refused(name: str, reason: Reason) -> None:
    assert code(wheel(name)) == reason


def test_slices_tiled_into_one_picture_are_refused() -> None:
    assert code(NICOM / "0.dcm") == Reason.UNSUPPORTED_CONTENT
    assert code(NICOM / "csa_slice_norm.dcm") == Reason.UNSUPPORTED_CONTENT


@pytest.mark.parametrize(
    ("name", "frames", "shape", "low", "high"),
    [
        ("cr_monochrome1_jpeg2000_nospacing", 1, (1760, 1760), 0, 1023),
        ("ct_rle_signed16_rescale", 1, (512, 512), -1024, 1254),
        ("mr_jpegls_fractional_rescale", 1, (512, 512), -19595, 981),
        ("us_palette_big_endian", 1, (600, 800), 0, 255),
        ("mr_enhanced_10frames_big_endian", 10, (64, 64), 0, 467),
        ("ct_enhanced_2frames_jpeg_lossless_fragmented", 2, (512, 512), -1024, 172),
        ("mr_jpeg2000_empty_slice_thickness", 1, (384, 384), 0, 594),
    ],
)
def test_hard_files(shared: Path, name: str, frames: int, shape: tuple[int, int], low: float, high: float) -> None:
    source = open_(shared / "data" / "formats" / f"{name}.dcm")
    assert (source.facts.frames, source.facts.shape) == (frames, shape)
    images = [source.picture(index).pixels for index in range(frames)]
    assert min(image.min() for image in images) == pytest.approx(low, abs=1)
    assert max(image.max() for image in images) == pytest.approx(high, abs=1)


def test_a_real_enhanced_ct_is_windowed_by_its_shared_groups(shared: Path) -> None:
    source = open_source(shared / "data" / "formats" / "ct_enhanced_2frames_jpeg_lossless_fragmented.dcm")
    assert source.facts.spacing is not None
    assert np.ptp(source.picture(0).pixels) < 172 + 1024
