import contextlib
import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import PIL.Image
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.uid import MPEG4HP41, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEGLSLossless

from ra_core.data import read_mask, read_pixels
from ra_core.errors import DataError

FORMATS = Path(__file__).parents[3] / ".." / "shared" / "data" / "formats"
GREY = np.arange(12 * 8, dtype=np.uint8).reshape(12, 8) * 2


def refused(path: Path, reason: str, **options: int) -> DataError:
    with pytest.raises(DataError) as caught:
        read_pixels(path, **options)
    assert caught.value.message.startswith(f"{path}: ")
    assert reason in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value


def save(path: Path, pixels: NDArray[np.generic], **options: object) -> Path:
    PIL.Image.fromarray(pixels).save(path, **options)
    return path


# Raster


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_grey_pictures_are_read_as_they_are(tmp_path: Path, suffix: str) -> None:
    raw = read_pixels(save(tmp_path / f"a.{suffix}", GREY))
    np.testing.assert_array_equal(raw.pixels, GREY)
    assert (raw.pixels.dtype, raw.spacing, raw.kind) == (np.float32, None, "raster")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_kept(tmp_path: Path, suffix: str) -> None:
    deep = GREY.astype(np.uint16) * 300
    np.testing.assert_array_equal(read_pixels(save(tmp_path / f"a.{suffix}", deep)).pixels, deep)


def test_grey_in_three_channels_is_grey_and_colour_is_refused(tmp_path: Path) -> None:
    same = np.stack([GREY] * 3, axis=2)
    np.testing.assert_array_equal(read_pixels(save(tmp_path / "a.png", same)).pixels, GREY)
    same[3, 3, 1] += 1
    refused(save(tmp_path / "b.png", same), "channels differ")


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", GREY).rename(tmp_path / "a.dcm")
    assert read_pixels(file).kind == "raster"


def test_the_exif_turn_is_applied(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the stored picture has to be turned by 90° clockwise
    file = save(tmp_path / "a.png", GREY, exif=exif)
    np.testing.assert_array_equal(read_pixels(file).pixels, np.rot90(GREY, -1))


def test_damaged_pictures_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    for suffix in ("png", "jpg"):
        file = save(tmp_path / f"a.{suffix}", noise)
        file.write_bytes(file.read_bytes()[:-600])
        refused(file, "damaged or not readable")


def test_what_is_no_plain_picture_is_refused(tmp_path: Path) -> None:
    refused(save(tmp_path / "a.png", np.full((9, 9), 7, dtype=np.uint8)), "same value")
    refused(save(tmp_path / "b.png", GREY), "too many", max_pixels=GREY.size - 1)
    rgba = np.stack([GREY] * 4, axis=2)
    refused(save(tmp_path / "c.png", rgba), "mode RGBA")
    PIL.Image.fromarray(GREY).convert("P").save(tmp_path / "d.png")
    refused(tmp_path / "d.png", "mode P")
    PIL.Image.fromarray(GREY).save(tmp_path / "e.tif", save_all=True, append_images=[PIL.Image.fromarray(GREY)])
    refused(tmp_path / "e.tif", "several pictures")
    refused(save(tmp_path / "f.tif", np.array([[1, np.nan]], dtype=np.float32)), "NaN")
    inverted = save(tmp_path / "g.tif", GREY.astype(np.uint16), tiffinfo={262: 0})
    with PIL.Image.open(inverted) as image:
        assert image.getexif()[262] == 0
    refused(inverted, "white as zero")


def test_a_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    PIL.Image.new("1", (14_000, 14_000)).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", "too many pixels")


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    for content, reason in ((b"", "empty"), (b"hello", "known format"), (gzip.compress(b"hello"), "no NIfTI")):
        (tmp_path / "a").write_bytes(content)
        refused(tmp_path / "a", reason)
    (tmp_path / "a").write_bytes(gzip.compress(b"hello" * 100)[:12])
    refused(tmp_path / "a", "gzip")
    refused(tmp_path / "none.png", "no such file")
    refused(tmp_path, "IsADirectoryError")


# Masks


def test_masks_have_two_values(tmp_path: Path) -> None:
    mask = GREY > 100
    for name, pixels in (("a.png", mask), ("b.png", mask.astype(np.uint8) * 255), ("c.png", np.zeros_like(mask))):
        np.testing.assert_array_equal(read_mask(save(tmp_path / name, pixels)), pixels != 0)
    with pytest.raises(DataError, match="more than two values"):
        read_mask(save(tmp_path / "d.png", GREY))


# NIfTI


def head(shape: tuple[int, int, int] = (6, 8, 5)) -> NDArray[np.int16]:
    """Values that tell where a voxel is: 100 to the right, 10 to the front, 1 upwards, along canonical axes."""
    right, front, up = np.indices(shape)
    return (100 * right + 10 * front + up).astype(np.int16)


def nifti(path: Path, codes: str = "RAS", shape: tuple[int, int, int] = (6, 8, 5), zooms: float = 2.0) -> Path:
    image = nib.Nifti1Image(head(shape), np.diag([zooms, zooms, 3.0, 1.0]))
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes))
    nib.save(image.as_reoriented(turn), path)
    return path


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR", "AIL"])
@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_a_nifti_slice_is_upright_however_it_is_stored(tmp_path: Path, codes: str, suffix: str) -> None:
    raw = read_pixels(nifti(tmp_path / f"a.{suffix}", codes), slice_position=0.75)
    assert raw.pixels.shape == (8, 6)
    assert raw.pixels[0, 0] == 573  # front and right of the patient at the picture's upper left
    assert raw.pixels[7, 5] == 3
    assert raw.spacing == (2.0, 2.0)
    assert raw.kind == "nifti"


def test_the_slice_position_runs_from_feet_to_head(tmp_path: Path) -> None:
    file = nifti(tmp_path / "a.nii", "LPI")
    assert [read_pixels(file, slice_position=p).pixels[7, 5] for p in (0, 0.5, 1)] == [0, 2, 4]


def test_nifti_scaling_version_two_and_two_dimensions(tmp_path: Path) -> None:
    image = nib.Nifti2Image(head(), np.eye(4))
    image.header.set_slope_inter(0.5, -100)
    nib.save(image, tmp_path / "a.nii")
    expected = nib.load(tmp_path / "a.nii").get_fdata()[::-1, ::-1, 2].T
    assert expected.min() == -99
    np.testing.assert_allclose(read_pixels(tmp_path / "a.nii").pixels, expected)
    nib.save(nib.Nifti1Image(head()[:, :, 2], np.eye(4)), tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(read_pixels(tmp_path / "b.nii.gz").pixels, head()[::-1, ::-1, 2].T)


def test_nifti_that_is_not_plain_is_refused(tmp_path: Path) -> None:
    def saved(voxels: NDArray[np.generic], affine: NDArray[np.float64] | None = None) -> Path:
        nib.save(nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine), tmp_path / "a.nii.gz")
        return tmp_path / "a.nii.gz"

    refused(saved(np.stack([head(), head()], axis=3)), "4 dimensions")
    refused(saved(np.full((4, 4, 4), 7, dtype=np.int16)), "same value")
    refused(saved(np.full((4, 4, 4), np.nan, dtype=np.float32)), "NaN")
    refused(saved(head().astype(np.complex64)), "complex")
    refused(saved(head()), "too many", max_pixels=47)
    coronal = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    refused(saved(head((6, 8, 1)), coronal), "not axial")


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_a_cut_nifti_is_refused_even_if_the_slice_is_there(tmp_path: Path, suffix: str) -> None:
    file = nifti(tmp_path / f"a.{suffix}")
    file.write_bytes(file.read_bytes()[:-10])
    refused(file, "truncated")


def test_a_flipped_byte_in_a_gzip_is_refused(tmp_path: Path) -> None:
    content = bytearray(nifti(tmp_path / "a.nii.gz").read_bytes())
    content[-6] ^= 1  # in the checksum
    (tmp_path / "a.nii.gz").write_bytes(content)
    refused(tmp_path / "a.nii.gz", "damaged")


# DICOM

SCAN = np.arange(12 * 8, dtype=np.uint16).reshape(12, 8) * 10


def dicom(path: Path, pixels: NDArray[np.generic] = SCAN, **tags: object) -> Path:
    ds = pydicom.Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = tags.pop("syntax", ExplicitVRLittleEndian)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    ds.Modality, ds.PatientName = "DX", "Secret^Name"
    ds.Rows, ds.Columns, ds.SamplesPerPixel = pixels.shape[-2], pixels.shape[-1], 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = pixels.itemsize * 8
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(ds, name, value)
    if ds.file_meta.TransferSyntaxUID.is_compressed:
        ds.PixelData = pydicom.encaps.encapsulate([b"\0" * 64])
    ds.save_as(path, enforce_file_format=True)
    return path


def test_plain_dicom(tmp_path: Path) -> None:
    raw = read_pixels(dicom(tmp_path / "a", PixelSpacing=[0.2, 0.3], ImagerPixelSpacing=[9, 9]))
    np.testing.assert_array_equal(raw.pixels, SCAN)
    assert (raw.spacing, raw.kind, raw.pixels.dtype) == ((0.2, 0.3), "dicom", np.float32)
    assert read_pixels(dicom(tmp_path / "a", ImagerPixelSpacing=[0.1, 0.1])).spacing == (0.1, 0.1)
    assert read_pixels(dicom(tmp_path / "a")).spacing is None


def test_rescale_of_signed_values(tmp_path: Path) -> None:
    signed = SCAN.astype(np.int16) - 500
    raw = read_pixels(dicom(tmp_path / "a", signed, RescaleSlope=2, RescaleIntercept=-1024))
    np.testing.assert_array_equal(raw.pixels, signed * 2.0 - 1024)


@pytest.mark.parametrize("slope", [1, -1])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 0, "WindowWidth": 4000}])
def test_monochrome1_is_inverted_exactly_once(tmp_path: Path, slope: int, window: dict[str, int]) -> None:
    tags = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}
    pixels = read_pixels(dicom(tmp_path / "a", RescaleSlope=slope, RescaleIntercept=0, **tags, **window)).pixels
    assert np.corrcoef(pixels.ravel(), SCAN.ravel())[0, 1] == pytest.approx(-slope)


@pytest.mark.parametrize(
    ("tags", "low", "high"),
    [
        ({"WindowCenter": 400.5, "WindowWidth": 201}, 300, 500),
        ({"WindowCenter": [400.5, 9], "WindowWidth": [201, 9]}, 300, 500),
        ({"WindowCenter": [400.5, 9], "WindowWidth": 201}, 300, 500),
        ({"WindowCenter": 400, "WindowWidth": 200, "VOILUTFunction": "LINEAR_EXACT"}, 300, 500),
        ({"WindowCenter": None, "WindowWidth": None}, 0, 950),
        ({"WindowWidth": 200}, 0, 950),
    ],
)
def test_the_first_window_clips(tmp_path: Path, tags: dict[str, object], low: float, high: float) -> None:
    np.testing.assert_array_equal(read_pixels(dicom(tmp_path / "a", **tags)).pixels, np.clip(SCAN, low, high))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_dark(tmp_path: Path, photometric: str) -> None:
    signed = SCAN.astype(np.int16)
    signed[:3] = -2000
    raw = read_pixels(dicom(tmp_path / "a", signed, PixelPaddingValue=-2000, PhotometricInterpretation=photometric))
    assert (raw.pixels[:3] == raw.pixels[3:].min()).all()
    assert np.ptp(raw.pixels) == np.ptp(signed[3:])


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"Modality": "SEG"}, "without a picture"),
        ({"NumberOfFrames": 2}, "several frames"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}, "colour"),
        ({"Rows": 65535, "Columns": 65535}, "too many"),
        ({"Rows": 0}, "0 × 8 pixels"),
        ({"Rows": 24}, "damaged or not readable"),
        ({"WindowCenter": 1e6, "WindowWidth": 10}, "one grey level"),
        ({"WindowCenter": 100, "WindowWidth": 0}, "one grey level"),
        ({"WindowCenter": 100, "WindowWidth": 50, "VOILUTFunction": "SIGMOID"}, "curve"),
        ({"VOILUTSequence": [pydicom.Dataset()]}, "table"),
        ({"SharedFunctionalGroupsSequence": [pydicom.Dataset()]}, "enhanced"),
        ({"RescaleSlope": None, "RescaleIntercept": None}, "without a value"),
        ({"RescaleIntercept": -1024}, "without a value"),
        ({"syntax": MPEG4HP41}, "MPEG-4"),
    ],
)
def test_dicom_that_is_not_plain_is_refused(tmp_path: Path, tags: dict[str, object], reason: str) -> None:
    assert "Secret" not in refused(dicom(tmp_path / "a", **tags), reason).message


def test_deflated_dicom_is_refused_before_it_is_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = dicom(tmp_path / "a", syntax=DeflatedExplicitVRLittleEndian)
    monkeypatch.delattr("pydicom.dcmread")
    assert "convert" in refused(file, "deflated").hint


def test_a_missing_decoder_is_named_with_its_package(tmp_path: Path) -> None:
    decoder = pydicom.pixels.get_decoder(JPEGLSLossless)
    if decoder.is_available:
        pytest.skip("a JPEG-LS decoder is installed here")
    error = refused(dicom(tmp_path / "a", syntax=JPEGLSLossless), "JPEG-LS Lossless")
    assert "pylibjpeg" in error.hint


def test_damaged_dicom_is_refused(tmp_path: Path) -> None:
    file = dicom(tmp_path / "a")
    whole = file.read_bytes()
    file.write_bytes(whole[:-50])
    refused(file, "damaged")
    file.write_bytes(whole[:200])
    refused(file, "")
    refused(dicom(tmp_path / "b", np.full((4, 4), 7, dtype=np.uint16)), "same value")
    refused(dicom(tmp_path / "c", np.full((4, 4), 7, dtype=np.uint16), PixelPaddingValue=7), "padding")


@pytest.mark.skipif(not FORMATS.is_dir(), reason="the shared sample data is not here")
def test_hard_files_are_read_or_refused() -> None:
    read = set()
    for path in sorted(FORMATS.glob("[!R]*")):
        with contextlib.suppress(DataError):  # and nothing else
            assert np.isfinite(read_pixels(path).pixels).all()
            read.add(path.name)
    assert {"brain_flair_stroke_oblique.nii.gz", "brain_axes_AIL_uint8_slope.nii.gz"} <= read
    assert {"ct_rle_signed16_rescale.dcm", "brain_int16_big_endian.nii"} <= read
    assert not {"xray_truncated.jpg", "mr_three_sequences_as_rgb.tif", "mr_4d_int16_oblique.nii.gz"} & read
    assert not {"us_palette_big_endian.dcm", "mr_enhanced_10frames_big_endian.dcm"} & read
