import contextlib
import gzip
import os
import socket
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import PIL.Image
import pydicom.data
import pytest
from dicoms import write_dicom
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import refused

from ra_core.config import LimitsConfig, PreprocessingConfig
from ra_core.data.readers import _OPEN as OPEN
from ra_core.data.readers import (
    Facts,
    RawImage,
    Reading,
    Reason,
    Turn,
    in_range,
    kind_of,
    open_mask,
    open_source,
    usable,
)
from ra_core.errors import DataError

GREY = np.arange(12 * 8, dtype=np.uint8).reshape(12, 8) * 2
FEW = settings(max_examples=60, deadline=None)


def png(path: Path, pixels: np.ndarray = GREY) -> Path:
    PIL.Image.fromarray(pixels).save(path, "PNG")
    return path


def nifti(path: Path) -> Path:
    nib.save(nib.Nifti1Image(np.arange(4 * 5 * 3, dtype=np.int16).reshape(4, 5, 3), np.eye(4)), path)
    return path


def dicom() -> Path:
    return Path(pydicom.data.get_testdata_file("MR_small.dcm", download=False))


# What a file is


@pytest.mark.parametrize("name", ["a", "a.dcm", "a.nii", "a.b.c.png", "Übersicht 头颅 №1.jpg"])
def test_the_content_decides_not_the_name(tmp_path: Path, name: str) -> None:
    assert open_source(png(tmp_path / name)).facts.kind == kind_of(tmp_path / name) == "raster"
    packed = gzip.compress(nifti(tmp_path / "b.nii").read_bytes())
    for content, kind in (
        (dicom().read_bytes(), "dicom"),
        ((tmp_path / "b.nii").read_bytes(), "nifti"),
        (packed, "nifti"),
    ):
        (tmp_path / name).write_bytes(content)
        assert open_source(tmp_path / name).facts.kind == kind_of(tmp_path / name) == kind


def test_dicom_without_a_preamble_is_dicom(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(dicom().read_bytes()[132:])
    assert open_source(tmp_path / "a").facts.kind == "dicom"


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.png", b"", Reason.EMPTY_FILE),
        ("a.txt", b"hello", Reason.NOT_AN_IMAGE),
        ("a", bytes(500), Reason.NOT_AN_IMAGE),
        ("a.csv", b"BMI,age,sex\n22,50,F", Reason.NOT_AN_IMAGE),
        ("a.db", b"\x08\0\x01\x07" + bytes(99), Reason.NOT_AN_IMAGE),
        ("a.png", bytes(5000), Reason.DAMAGED),
        ("a.JPG", b"hello", Reason.DAMAGED),
        ("a.jpeg", b"<html>", Reason.DAMAGED),
        ("a.tif", bytes(500), Reason.DAMAGED),
        ("A.tiff", bytes(500), Reason.DAMAGED),
        ("a.bmp", b"BM", Reason.DAMAGED),
        ("a.png", b"GIF89a" + bytes(50), Reason.UNSUPPORTED_CONTENT),
        ("a.nii", b"hello", Reason.NOT_NIFTI),
        ("A.NII.GZ", b"hello", Reason.NOT_NIFTI),
        ("a.nii.gz", gzip.compress(b"hello", mtime=0), Reason.NOT_NIFTI),
        ("a.dcm", b"hello", Reason.NOT_DICOM),
        ("a.DCM", bytes(500), Reason.NOT_DICOM),
        ("a.tar.gz", gzip.compress(b"hello", mtime=0), Reason.NOT_AN_IMAGE),
        ("a.gz", gzip.compress(b"hello" * 100, mtime=0)[:12], Reason.TRUNCATED),
        ("a.gz", gzip.compress(b"hello", mtime=0)[:10] + b"\xff" * 20, Reason.DAMAGED),
        ("a.dcm.gz", gzip.compress(bytes(128) + b"DICM" + bytes(400), mtime=0), Reason.UNSUPPORTED_CONTENT),
        ("a.gif", b"GIF89a" + bytes(50), Reason.UNSUPPORTED_CONTENT),
        ("a.png", b"\x89PNG\r\n\x1a\n", Reason.DAMAGED),
        ("a.nii", b"\x5c\x01\0\0" + bytes(340) + b"n+1\0", Reason.DAMAGED),
    ],
)
def test_what_is_no_image_is_told(tmp_path: Path, name: str, content: bytes, code: Reason) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, code)


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    refused(tmp_path, Reason.NOT_A_FILE)
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", Reason.NOT_A_FILE)  # would wait for ever
    refused(Path("/dev/zero"), Reason.NOT_A_FILE)
    with socket.socket(socket.AF_UNIX) as listening, tempfile.TemporaryDirectory() as short:
        listening.bind(f"{short}/s")
        refused(Path(short) / "s", Reason.NOT_A_FILE)


def test_missing_and_locked_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(tmp_path / "none.png", Reason.MISSING)
    refused(png(tmp_path / "a.png") / "below.png", Reason.MISSING)
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    refused(tmp_path / "link", Reason.MISSING)

    def locked(self: Path, *args: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "open", locked)
    refused(tmp_path / "a.png", Reason.NO_ACCESS)


def test_the_libraries_warnings_are_not_shown(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    PIL.Image.fromarray(GREY).save(tmp_path / "a.tif")
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[:30])
    refused(tmp_path / "a.tif", Reason.DAMAGED)
    assert not recwarn.list


def test_a_librarys_error_is_told_by_its_kind_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, reading: Reading) -> None:
        raise KeyError("Secret^Name")

    monkeypatch.setitem(OPEN, "raster", fail)
    error = refused(png(tmp_path / "a.png"), Reason.DAMAGED)
    assert "KeyError" in error.message
    assert "Secret" not in error.message + error.hint


# What a picture has to be


class Pictures:
    """A source in memory."""

    def __init__(self, *pixels: np.ndarray, spacing: tuple[float, float] | None = None) -> None:
        self.pixels = [np.asarray(x, np.float32) for x in pixels]
        self.facts = Facts("raster", len(pixels), self.pixels[0].shape, spacing)

    def picture(self, index: int) -> RawImage:
        return RawImage(self.pixels[index], self.facts.spacing, "raster")


@pytest.fixture
def given_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def give(source: Pictures) -> Path:
        monkeypatch.setitem(OPEN, "raster", lambda path, reading: source)
        return png(tmp_path / "a.png")

    return give


def test_constant_pictures_and_numbers_that_are_none(given_pictures) -> None:
    refused(given_pictures(Pictures(np.ones((5, 5)))), Reason.CONSTANT_IMAGE)
    refused(given_pictures(Pictures(np.ones((5, 5)), np.eye(5))), Reason.EMPTY_SLICE)
    refused(given_pictures(Pictures([[1, np.nan], [0, 1]])), Reason.NOT_FINITE)
    refused(given_pictures(Pictures([[1, np.inf], [0, 1]])), Reason.NOT_FINITE)


@pytest.mark.parametrize(
    ("shape", "spacing", "code"),
    [
        ((32, 40), None, None),
        ((31, 40), None, Reason.TOO_SMALL),
        ((40, 16), (1.0, 2.0), None),  # 32 square pixels wide
        ((40, 15), (1.0, 2.0), Reason.TOO_SMALL),
        ((40, 40), (1.0, 1e9), Reason.TOO_LARGE),
        ((40, 20_000), None, Reason.TOO_LARGE),  # 20,000 x 20,000 when padded to a square
        ((40, 40), (1.0, 0.0), Reason.DAMAGED),
    ],
)
def test_sizes_are_judged_in_square_pixels_before_decoding(given_pictures, shape, spacing, code) -> None:
    source = Pictures(np.indices(shape).sum(0), spacing=spacing)
    path, reading = given_pictures(source), Reading.of(PreprocessingConfig())
    assert reading.min_side == 32
    if code is None:
        assert open_source(path, reading).picture(0).pixels.shape == shape
    else:
        source.picture = None
        refused(path, code, reading)


def test_usable_frames(given_pictures) -> None:
    empty, full, bad = np.zeros((5, 5)), np.eye(5), np.full((5, 5), np.nan)
    path = given_pictures(Pictures(empty, full, full, empty, full, bad))
    assert usable(open_source(path), Reading(slices=(0, 0.8))) == [1, 2, 4]
    with pytest.raises(DataError, match="NaN"):
        usable(open_source(path))


def test_a_reading_is_the_studys_and_the_sites() -> None:
    study = PreprocessingConfig(plane="coronal", slices=(0.2, 0.4), volume=3, window="brain")
    limits = LimitsConfig(max_pixels=5, max_voxels=6, min_side=7)
    assert Reading.of(study, limits) == Reading("coronal", (0.2, 0.4), 3, "brain", 5, 6, 7)


@pytest.mark.parametrize(
    ("count", "slices", "expected"),
    [
        (5, (0, 1), range(5)),
        (1, (0.5, 0.5), range(1)),
        (1, (0, 0), range(1)),
        (5, (0.5, 0.5), range(2, 3)),
        (22, (0.5, 0.5), range(10, 11)),
        (11, (0.3, 0.7), range(3, 8)),
        (101, (0.29, 0.58), range(29, 59)),  # neither is exact in binary
        (4, (0.4, 0.5), range(1, 2)),
        (3, (1, 1), range(2, 3)),
    ],
)
def test_the_share_of_slices(count: int, slices: tuple[float, float], expected: range) -> None:
    assert in_range(count, slices) == expected


@FEW
@given(st.integers(1, 500), st.floats(0, 1), st.floats(0, 1))
def test_a_share_is_never_empty_nor_outside(count: int, one: float, other: float) -> None:
    found = in_range(count, (min(one, other), max(one, other)))
    assert found
    assert 0 <= found[0] <= found[-1] < count


# Masks


def test_masks_hold_two_values(tmp_path: Path) -> None:
    facts = open_source(png(tmp_path / "image.png")).facts
    mask = GREY > 100
    for pixels in (mask, mask.astype(np.uint8) * 255, np.zeros_like(mask), np.ones_like(mask)):
        found = open_mask(png(tmp_path / "a.png", pixels), facts).picture(0).pixels
        np.testing.assert_array_equal(found, pixels != 0)
    with pytest.raises(DataError, match="more than two values") as caught:
        open_mask(png(tmp_path / "b.png"), facts).picture(0)
    assert caught.value.code == Reason.MASK_NOT_BINARY
    with pytest.raises(DataError, match=r"1 × 8 × 12 pixels for an image of 1 × 12 × 8") as caught:
        open_mask(png(tmp_path / "c.png", mask.T), facts)
    assert caught.value.code == Reason.MASK_OTHER_GRID


def test_masks_of_dicom_lie_on_the_stored_picture(tmp_path: Path) -> None:
    film = np.arange(96, dtype=np.uint16).reshape(12, 8)
    inside = film == 17
    axial = {"ImageOrientationPatient": [0, -1, 0, 1, 0, 0], "ImagePositionPatient": [1, 2, 3]}
    for tags in (axial, {"PatientOrientation": ["H", "R"]}):
        source = open_source(write_dicom(tmp_path / "image.dcm", film, **tags))
        assert source.facts.turn != Turn()
        masks = [png(tmp_path / "mask.png", inside)]
        masks += [
            write_dicom(tmp_path / f"mask{i}.dcm", inside.astype(np.uint8), **t) for i, t in enumerate((tags, {}))
        ]
        for path in masks:
            mask = open_mask(path, source.facts)
            found = mask.picture(0)
            np.testing.assert_array_equal(found.pixels > 0, source.picture(0).pixels == 17)
            assert found.pixels.shape == mask.facts.shape == source.facts.shape
        own = open_source(png(tmp_path / "picture.png", film.astype(np.uint8)))  # says nothing of how it lies
        shown = open_mask(masks[1], own.facts).picture(0).pixels
        np.testing.assert_array_equal(shown > 0, inside)


def test_the_mask_of_a_volume_lies_on_its_grid(tmp_path: Path) -> None:
    voxels = np.arange(4 * 5 * 3, dtype=np.int16).reshape(4, 5, 3)
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    image = nib.Nifti1Image(voxels, affine)
    nib.save(image, tmp_path / "image.nii")
    inside = nib.Nifti1Image((voxels == 31).astype(np.uint8), affine)
    straight, turned = (nib.orientations.axcodes2ornt(codes) for codes in ("RAS", "PSR"))
    nib.save(inside.as_reoriented(nib.orientations.ornt_transform(straight, turned)), tmp_path / "mask.nii")
    for plane in ("axial", "coronal", "sagittal"):
        reading = Reading(plane=plane, window="brain")
        source = open_source(tmp_path / "image.nii", reading)
        mask = open_mask(tmp_path / "mask.nii", source.facts, reading)
        found = [np.argwhere(mask.picture(index).pixels) for index in range(source.facts.frames)]
        (frame,) = (index for index, places in enumerate(found) if len(places))
        ((row, column),) = found[frame]
        assert source.picture(frame).pixels[row, column] == 31
    moved = affine.copy()
    moved[0, 3] = 1
    nib.save(nib.Nifti1Image(voxels, moved), tmp_path / "moved.nii")
    with pytest.raises(DataError, match="lies elsewhere") as caught:
        open_mask(tmp_path / "moved.nii", open_source(tmp_path / "image.nii").facts)
    assert caught.value.code == Reason.MASK_OTHER_GRID


# Whatever bytes


def whole_files() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        found = {"png": png(root / "a.png").read_bytes(), "nii": nifti(root / "a.nii").read_bytes()}
        found["nii.gz"] = gzip.compress(found["nii"])
        image = PIL.Image.fromarray(GREY)
        for suffix in ("jpg", "tif", "bmp"):
            image.save(root / f"a.{suffix}")
            found[suffix] = (root / f"a.{suffix}").read_bytes()
    found["dcm"] = dicom().read_bytes()
    return found


WHOLE = whole_files()


def only_data_errors(folder: Path, content: bytes) -> None:
    path = folder / "a"
    path.write_bytes(content)
    with contextlib.suppress(DataError):  # and nothing else
        source = open_source(path, Reading(max_pixels=1 << 20, max_voxels=1 << 20))
        for index in range(min(source.facts.frames, 4)):
            assert np.isfinite(source.picture(index).pixels).all()


@FEW
@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_a_file_cut_at_any_byte(tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject) -> None:
    content = WHOLE[kind]
    only_data_errors(tmp_path_factory.mktemp("a"), content[: data.draw(st.integers(0, len(content)))])


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_a_file_with_other_bytes(tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject) -> None:
    content = bytearray(WHOLE[kind])
    end = st.integers(0, len(content) - 1) | st.integers(0, min(len(content) - 1, 360))  # often in the header
    for place, value in data.draw(st.lists(st.tuples(end, st.integers(0, 255)), min_size=1, max_size=6)):
        content[place] = value
    only_data_errors(tmp_path_factory.mktemp("a"), bytes(content))


@FEW
@given(st.sampled_from([b"", *(content[:140] for content in WHOLE.values())]), st.binary(max_size=400))
def test_random_bytes(tmp_path_factory: pytest.TempPathFactory, start: bytes, rest: bytes) -> None:
    only_data_errors(tmp_path_factory.mktemp("a"), start + rest)
