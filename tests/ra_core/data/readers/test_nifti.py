import gc
import gzip
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from reading import refused

from ra_core.config import Plane, PreprocessingConfig
from ra_core.data import load_image
from ra_core.data.readers import Note, Reading, Reason, nifti, open_source, read_pixels, unpack, usable
from ra_core.errors import DataError

NIBABEL = Path(nib.__file__).parent / "tests" / "data"
STRAIGHT = np.eye(4)
PLANES: list[Plane] = ["axial", "coronal", "sagittal"]


def head(shape: tuple[int, int, int] = (6, 8, 5)) -> NDArray[np.int16]:
    """Values that tell where a voxel is: 100 to the right, 10 to the front, 1 upwards, along canonical axes."""
    right, front, up = np.indices(shape)
    return (100 * right + 10 * front + up).astype(np.int16)


def write(path: Path, voxels: NDArray[np.generic], affine: NDArray[np.float64] = STRAIGHT) -> Path:
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def write_as(path: Path, codes: str = "RAS") -> Path:
    image = nib.Nifti1Image(head(), np.diag([2.0, 2.5, 3.0, 1.0]))
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes))
    nib.save(image.as_reoriented(turn), path)
    return path


# Where things are


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR", "AIL", "LAS", "SRA"])
@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
@pytest.mark.parametrize(
    ("plane", "shape", "spacing", "corner", "opposite"),
    [
        ("axial", (8, 6), (2.5, 2.0), 570, 0),  # front and right at the upper left, from the feet on
        ("coronal", (5, 6), (3.0, 2.0), 504, 0),  # head and right at the upper left, from the back on
        ("sagittal", (5, 8), (3.0, 2.5), 574, 500),  # head and front at the upper left, from the right on
    ],
)
def test_pictures_are_upright_however_they_are_stored(
    tmp_path: Path, codes: str, suffix: str, plane: Plane, shape: tuple[int, int], spacing: tuple[float, float],
    corner: int, opposite: int,
) -> None:  # fmt: skip
    source = open_source(write_as(tmp_path / f"a.{suffix}", codes), Reading(plane=plane))
    raw = source.picture(0)
    assert raw.pixels.shape == source.facts.shape == shape
    assert raw.pixels[0, 0] == corner
    assert raw.pixels[-1, -1] == opposite
    assert raw.spacing == source.facts.spacing == pytest.approx(spacing)
    assert (raw.kind, source.facts.kind, source.facts.bits, source.facts.notes) == ("nifti", "nifti", 16, ())


def test_frames_are_counted_from_feet_back_and_right(tmp_path: Path) -> None:
    file = write_as(tmp_path / "a.nii", "LPI")
    for plane, last, step in (("axial", 4, 1), ("coronal", 7, 10), ("sagittal", 5, -100)):
        source = open_source(file, Reading(plane=plane))
        assert source.facts.frames == last + 1
        ends = [source.picture(index).pixels[-1, -1] for index in (0, last)]
        assert ends[1] - ends[0] == step * last


@settings(max_examples=40, deadline=None)
@given(
    st.permutations(["R", "A", "S"]),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
    st.sampled_from(PLANES),
    st.integers(0, 4),
    st.integers(-20, 20),
)
def test_origin_spacing_and_normal_lead_to_each_voxel(
    tmp_path_factory: pytest.TempPathFactory,
    axes: list[str],
    flips: tuple[bool, ...],
    plane: Plane,
    frame: int,
    turn: int,
) -> None:
    """The world coordinates of a voxel, counted in the picture from its facts, are those of the file's own affine."""
    codes = "".join({"R": "L", "A": "P", "S": "I"}[a] if flip else a for a, flip in zip(axes, flips, strict=True))
    angle = np.deg2rad(turn)
    about_x = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = about_x @ np.diag([2.0, 2.5, 3.0]), (-11, 7, 5)
    image = nib.Nifti1Image(head(), affine)
    turned = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes))
    file = tmp_path_factory.mktemp("a") / "a.nii"
    nib.save(image.as_reoriented(turned), file)
    source = open_source(file, Reading(plane=plane))
    facts, pixels = source.facts, source.picture(frame).pixels
    row, column = 2, 1
    value = int(pixels[row, column])
    world = affine @ [value // 100, value // 10 % 10, value % 10, 1]
    left, back, up = -world[0], -world[1], world[2]
    assert facts.origins is not None
    assert facts.positions is not None
    offset = np.array([left, back, up]) - facts.origins[frame]
    across = np.array(facts.normal)
    assert across @ offset == pytest.approx(0, abs=1e-4)
    assert np.linalg.norm(offset) == pytest.approx(
        np.hypot(row * facts.spacing[0], column * facts.spacing[1]), abs=1e-4
    )
    assert across @ np.array(facts.origins[frame]) == pytest.approx(facts.positions[frame], abs=1e-4)
    assert list(facts.positions) == sorted(facts.positions)
    assert np.linalg.norm(across) == pytest.approx(1)
    assert across[{"axial": 2, "coronal": 1, "sagittal": 0}[plane]] * (-1 if plane == "coronal" else 1) > 0.9


def test_what_is_written_to_a_picture_lands_in_its_voxels(tmp_path: Path) -> None:
    source = nifti.open_nifti(write_as(tmp_path / "a.nii", "PSR"), Reading(plane="coronal"))
    copy = np.zeros(source.voxels.shape, np.float32)
    for index in range(source.facts.frames):
        source.grid.picture(copy, index)[...] = source.picture(index).pixels
    np.testing.assert_array_equal(copy, np.asarray(nib.load(tmp_path / "a.nii").dataobj))


def test_units_are_turned_into_millimetres(tmp_path: Path) -> None:
    for unit, factor in (("meter", 1000), ("micron", 0.001), ("mm", 1), ("unknown", 1)):
        image = nib.Nifti1Image(head(), np.diag([2.0, 4.0, 3.0, 1.0]))
        image.header.set_xyzt_units(unit)
        nib.save(image, tmp_path / "a.nii")
        assert read_pixels(tmp_path / "a.nii").spacing == pytest.approx((4.0 * factor, 2.0 * factor))


def test_two_dimensions_and_single_slices(tmp_path: Path) -> None:
    expected = head()[::-1, ::-1, 2].T
    flat = write(tmp_path / "a.nii.gz", head()[:, :, 2])
    np.testing.assert_array_equal(read_pixels(flat).pixels, expected)
    single = write(tmp_path / "b.nii", head()[:, :, 2:3])
    np.testing.assert_array_equal(read_pixels(single).pixels, expected)
    upright = write(tmp_path / "c.nii", head()[:, 3:4, :])
    np.testing.assert_array_equal(read_pixels(upright, Reading(plane="coronal")).pixels, head()[::-1, 3, ::-1].T)
    message = refused(single, Reason.UNSUPPORTED_CONTENT, Reading(plane="coronal")).message
    assert "no coronal pictures" in message


# Numbers


def test_scaling_and_version_two(tmp_path: Path) -> None:
    image = nib.Nifti2Image(head(), np.eye(4))
    image.header.set_slope_inter(-0.5, 100)
    nib.save(image, tmp_path / "a.nii")
    expected = nib.load(tmp_path / "a.nii").get_fdata()[::-1, ::-1, 2].T
    assert expected.max() == 99
    np.testing.assert_allclose(read_pixels(tmp_path / "a.nii", frame=2).pixels, expected)


def test_four_dimensions(tmp_path: Path) -> None:
    file = write(tmp_path / "a.nii.gz", np.stack([head(), head() + 1000], axis=3))
    for volume in (0, 1):
        source = open_source(file, Reading(volume=volume))
        assert source.picture(0).pixels[-1, -1] == 1000 * volume
        assert source.facts.notes == (Note.FIRST_VOLUME,)
        assert (source.facts.frames, source.facts.shape) == (5, (8, 6))
    refused(file, Reason.NOT_3D, Reading(volume=2))
    single = open_source(write(tmp_path / "b.nii.gz", head()[..., None]), Reading(volume=2))
    assert single.facts.notes == ()
    np.testing.assert_array_equal(single.picture(1).pixels, head()[::-1, ::-1, 1].T)
    refused(write(tmp_path / "c.nii", np.zeros((4, 4, 4, 1, 3), np.int16)), Reason.NOT_3D)
    refused(write(tmp_path / "d.nii", np.arange(9, dtype=np.int16)), Reason.NOT_3D)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("slope", [1.0, -2.0])
def test_a_few_voxels_that_are_no_numbers_become_the_lowest(tmp_path: Path, bad: float, slope: float) -> None:
    voxels = head((6, 8, 10)).astype(np.float32)
    voxels[0, 0, 3] = bad
    image = nib.Nifti1Image(voxels, np.eye(4))
    image.header.set_slope_inter(slope, 5)
    nib.save(image, tmp_path / "a.nii")
    # nibabel writes floats unscaled, so that the stored numbers are divided by the slope: read them back as they are
    source = open_source(tmp_path / "a.nii")
    finite = nib.load(tmp_path / "a.nii").get_fdata()
    raw = source.picture(3)
    assert raw.notes == (Note.NOT_FINITE,)
    assert raw.pixels[-1, -1] == finite[np.isfinite(finite)].min()
    assert source.picture(2).notes == ()


def test_up_to_half_of_the_voxels_may_be_nan_for_background(tmp_path: Path) -> None:
    voxels = head((6, 8, 4)).astype(np.float32)
    voxels[:, :, 0], voxels[:3, :, 1:3] = np.nan, np.nan  # half of them
    source = open_source(write(tmp_path / "a.nii", voxels))
    picture = source.picture(1)
    assert picture.notes == (Note.NOT_FINITE,)
    assert (picture.pixels[:, 3:] == np.nanmin(voxels)).all()
    np.testing.assert_array_equal(picture.pixels[:, :3], voxels[3:, :, 1][::-1, ::-1].T)
    assert usable(source) == [1, 2, 3]
    voxels[5, 7, 3] = np.nan
    refused(write(tmp_path / "b.nii", voxels), Reason.NOT_FINITE)


def test_many_voxels_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    voxels = head().astype(np.float32)
    voxels[0, 0] = np.inf
    refused(write(tmp_path / "a.nii.gz", voxels), Reason.NOT_FINITE)
    refused(write(tmp_path / "b.nii.gz", np.full((4, 4, 4), np.nan, np.float32)), Reason.NOT_FINITE)
    refused(write(tmp_path / "c.nii.gz", head() * 1e300), Reason.NOT_FINITE, frame=1)


def test_constant_volumes_are_refused_and_empty_slices_left_out(tmp_path: Path) -> None:
    file = write(tmp_path / "a.nii.gz", np.full((4, 4, 4), 7, np.int16))
    refused(file, Reason.CONSTANT_IMAGE)
    with pytest.raises(DataError):
        usable(open_source(file))
    voxels = head()
    voxels[:, :, [0, 3]] = 0
    source = open_source(write(tmp_path / "b.nii.gz", voxels))
    assert usable(source) == [1, 2, 4]
    assert usable(source, Reading(slices=(0.4, 0.8))) == [2]
    refused(tmp_path / "b.nii.gz", Reason.EMPTY_SLICE)


def test_a_named_window_clips(tmp_path: Path) -> None:
    file = write(tmp_path / "a.nii", head() - 300)
    plain = read_pixels(file).pixels
    np.testing.assert_array_equal(read_pixels(file, Reading(window="brain")).pixels, plain.clip(0, 80))
    np.testing.assert_array_equal(read_pixels(file, Reading(window="none")).pixels, plain)
    outside = read_pixels(write(tmp_path / "b.nii", head() + 3000), Reading(window="brain"))
    assert outside.notes == (Note.WINDOW_NOT_APPLIED,)
    assert np.ptp(outside.pixels) > 0


@pytest.mark.parametrize(
    ("dtype", "code"),
    [
        (np.complex64, Reason.UNSUPPORTED_CONTENT),
        (np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]), Reason.COLOUR_IMAGE),
    ],
)
def test_voxels_that_are_no_plain_numbers_are_refused(tmp_path: Path, dtype: np.dtype, code: Reason) -> None:
    refused(write(tmp_path / "a.nii", np.zeros((4, 5, 6), dtype)), code)


def test_unsafe_orientations_are_told_or_refused(tmp_path: Path) -> None:
    sheared = np.eye(4)
    sheared[1, 2] = 0.3
    facts = open_source(write(tmp_path / "a.nii", head(), sheared)).facts
    assert facts.notes == (Note.SHEARED,)
    assert facts.tilted
    guessed = write(tmp_path / "b.nii", head())
    content = bytearray(guessed.read_bytes())
    content[252:256] = bytes(4)  # qform_code, sform_code
    guessed.write_bytes(content)
    assert open_source(guessed).facts.notes == (Note.ORIENTATION_GUESSED,)
    for value in (np.nan, 0.0):
        file = write(tmp_path / "c.nii", head())
        content = bytearray(file.read_bytes())
        content[280:328] = np.full(12, value, "<f4").tobytes()  # srow_x, srow_y, srow_z
        file.write_bytes(content)
        refused(file, Reason.DAMAGED)


# Sizes and damage


def test_headers_that_ask_for_too_much_are_refused(tmp_path: Path) -> None:
    file = write_as(tmp_path / "a.nii")
    refused(file, Reason.TOO_LARGE, Reading(max_voxels=6 * 8 * 5 - 1))
    refused(file, Reason.TOO_LARGE, Reading(max_pixels=6 * 8 - 1))
    for name in ("a.nii", "a.nii.gz"):
        content = bytearray(write_as(tmp_path / "a.nii").read_bytes())
        content[42:48] = np.array([1000, 1000, 1000], "<i2").tobytes()  # dim
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        refused(tmp_path / name, Reason.TRUNCATED)
        content[42:48] = np.array([0, -5, 3], "<i2").tobytes()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        refused(tmp_path / name, Reason.DAMAGED)
        content[42:48] = np.array([6, 8, 5], "<i2").tobytes()
        content[108:112] = np.array(3e9, "<f4").tobytes()  # vox_offset
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        refused(tmp_path / name, Reason.DAMAGED)


def test_a_gzip_bomb_is_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = write_as(tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content + bytes(64 << 20)))
    read = []
    inflate = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, n=-1: read.append(n) or inflate(self, n))
    refused(tmp_path / "a.nii.gz", Reason.DAMAGED)
    assert 0 < sum(read) < 4 << 20
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content + bytes(100)))
    assert read_pixels(tmp_path / "a.nii.gz").pixels.shape == (8, 6)


def test_a_file_is_read_once_for_all_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    read = unpack.Part.read
    monkeypatch.setattr(unpack.Part, "read", lambda self, path: calls.append(path) or read(self, path))
    source = open_source(write_as(tmp_path / "a.nii.gz"))
    assert source.facts.frames == 5
    assert not calls
    for index in range(5):
        source.picture(index)
    assert len(calls) == 1


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_a_cut_file_is_refused_even_if_the_slice_is_there(tmp_path: Path, suffix: str) -> None:
    file = write_as(tmp_path / f"a.{suffix}")
    file.write_bytes(file.read_bytes()[:-10])
    refused(file, Reason.TRUNCATED)


@pytest.mark.parametrize("packed_whole", [True, False])
def test_a_cut_file_that_was_refused_takes_no_memory(tmp_path: Path, packed_whole: bool) -> None:
    content = write(tmp_path / "a.nii", np.zeros((100, 100, 100), np.int16)).read_bytes()
    cut = gzip.compress(content[:-10]) if packed_whole else gzip.compress(content)[:-10]
    (tmp_path / "a.nii.gz").write_bytes(cut)
    refused(tmp_path / "a.nii.gz", Reason.TRUNCATED)
    gc.collect()
    tracemalloc.start()
    refused(tmp_path / "a.nii.gz", Reason.TRUNCATED)
    gc.collect()
    left = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert left < 100_000  # of 2 million


def test_a_flipped_byte_in_a_gzip_is_refused(tmp_path: Path) -> None:
    content = bytearray(write_as(tmp_path / "a.nii.gz").read_bytes())
    content[-6] ^= 1  # in the check sum
    (tmp_path / "a.nii.gz").write_bytes(content)
    refused(tmp_path / "a.nii.gz", Reason.DAMAGED)


def test_plain_under_a_packed_name(tmp_path: Path) -> None:
    write_as(tmp_path / "a.nii").rename(tmp_path / "a.nii.gz")
    assert open_source(tmp_path / "a.nii.gz").facts.notes == (Note.NOT_GZIP,)
    packed = write_as(tmp_path / "b.nii.gz").rename(tmp_path / "b.nii")
    assert open_source(packed).facts.notes == ()
    assert read_pixels(packed).pixels[0, 0] == 570


def test_remarks_on_a_header_stay_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = bytearray(write_as(tmp_path / "a.nii").read_bytes())
    content[72:74] = np.array(99, "<i2").tobytes()  # bitpix, which nibabel puts right
    (tmp_path / "a.nii").write_bytes(content)
    assert read_pixels(tmp_path / "a.nii").pixels[0, 0] == 570
    assert "".join(capfd.readouterr()) == ""


# Cases and real files


def declared(shared: Path, case: str) -> tuple[Path, list[dict]]:
    folder = shared / "cases" / "imaging"
    cases = yaml.safe_load((folder / "cases.yaml").read_text(encoding="utf-8"))["cases"]
    return folder / case, next(found["files"] for found in cases if found["id"] == case)


def volume(path: Path) -> NDArray[np.float32]:
    """Along canonical axes (to right, to front, to head), put together from the axial pictures."""
    source = open_source(path)
    found = np.full((*source.facts.shape, source.facts.frames), np.nan, np.float32)
    for index in usable(source):
        found[..., index] = source.picture(index).pixels
    return found[::-1, ::-1].transpose(1, 0, 2)


def test_case_11(shared: Path) -> None:
    folder, files = declared(shared, "11_orientation_and_spacing")
    seen = 0
    for file in files:
        path, expect = folder / file["file"], file["expect"]
        if path.suffix == ".dcm":
            continue  # in test_image.py
        facts, voxels = open_source(path).facts, volume(path)
        if "canonical_shape" in expect:
            assert list(voxels.shape) == expect["canonical_shape"], path.name
            right, front, up = expect["canonical_zooms_mm"]
            assert facts.spacing == pytest.approx((front, right))
            assert facts.positions is not None
            assert np.diff(facts.positions) == pytest.approx(up)
        if "marker_voxel" in expect:
            brightest = np.argwhere(voxels == np.nanmax(voxels)).mean(0)
            assert np.abs(brightest - expect["marker_voxel"]).max() <= 1, path.name
            seen += 1
        assert load_image(path, PreprocessingConfig(size=32), facts.frames // 2).pixels.max() > 0.5
        assert (Note.FIRST_VOLUME in facts.notes) == (path.name == "four_d.nii.gz")
        assert (Note.SHEARED in facts.notes) == facts.tilted == (path.name == "sheared.nii.gz")
    assert seen == 6


@pytest.mark.parametrize("plane", PLANES)
def test_case_11_shows_the_same_plane_from_each_file(shared: Path, plane: Plane) -> None:
    folder, _ = declared(shared, "11_orientation_and_spacing")
    sources = [open_source(folder / name, Reading(plane=plane)) for name in ("ras.nii.gz", "lps.nii.gz", "psr.nii")]
    middle = sources[0].facts.frames // 2
    first, *others = [source.picture(middle).pixels for source in sources]
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_case_12(shared: Path) -> None:
    folder, files = declared(shared, "12_nifti_values_and_damage")
    reading = Reading.of(PreprocessingConfig(size=32))
    for file in files:
        path, name, expect = folder / file["file"], file["file"], file.get("expect", {})
        if file["outcome"] == "skip":
            with pytest.raises(DataError) as caught:
                usable(open_source(path, reading), reading)
            assert caught.value.code == file["reason"], name
            assert name in caught.value.message
            continue
        source = open_source(path, reading)
        frames, voxels = usable(source, reading), volume(path)
        for low, high in (expect[key] for key in ("value_range", "finite_range") if key in expect):
            assert (np.nanmin(voxels), np.nanmax(voxels)) == (low, high), name
        if "percentile_1_99" in expect:
            np.testing.assert_allclose(np.nanpercentile(voxels, (1, 99)), expect["percentile_1_99"], atol=1)
        if "empty_slices" in expect:
            assert not set(frames) & set(expect["empty_slices"])
            assert set(frames) == set(expect["usable_slices"]) - {21}  # which is all zero too
        if "not_finite_voxels" in expect:
            assert any(Note.NOT_FINITE in source.picture(frame).notes for frame in frames)
        for frame in frames[::5]:
            image = load_image(path, PreprocessingConfig(size=32), frame)
            assert np.isfinite(image.pixels).all()
            assert image.pixels.max() > 0


@pytest.mark.parametrize(
    ("name", "shape", "frames", "low", "high"),
    [
        ("brain_flair_stroke_oblique.nii.gz", (160, 124), 140, 0, 255),
        ("mr_4d_int16_oblique.nii.gz", (96, 128), 24, 0, 1162),
        ("mr_int16_slope_negative_intercept.nii", (64, 64), 32, -495.6, 497.3),
        ("brain_int16_big_endian.nii", (41, 33), 25, -610, 30393),
        ("brain_axes_AIL_uint8_slope.nii.gz", (79, 64), 67, 0, 92.6),
    ],
)
def test_real_files(shared: Path, name: str, shape: tuple[int, int], frames: int, low: float, high: float) -> None:
    path = shared / "data" / "formats" / name
    facts, voxels = open_source(path).facts, volume(path)
    assert (facts.shape, facts.frames) == (shape, frames)
    assert (np.nanmin(voxels), np.nanmax(voxels)) == pytest.approx((low, high), abs=0.06)


@pytest.mark.parametrize(
    ("name", "volumes", "low", "high"),
    [
        ("example4d.nii.gz", 2, 0, 1162),
        ("functional.nii", 20, 629.8, 5572),
        ("anatomical.nii", 1, -610, 30393),
        ("example_nifti2.nii.gz", 2, None, None),
        ("standard.nii.gz", 1, 0, 255),
    ],
)
def test_files_of_the_library(name: str, volumes: int, low: float | None, high: float | None) -> None:
    image = nib.load(NIBABEL / name)
    assert image.shape[3:] in ((), (volumes,))
    ends = []
    for volume in range(volumes):
        source = open_source(NIBABEL / name, Reading(volume=volume))
        pixels = np.stack([source.picture(index).pixels for index in usable(source)])
        ends += [pixels.min(), pixels.max()]
    expected = (low, high) if low is not None else (image.get_fdata().min(), image.get_fdata().max())
    assert (min(ends), max(ends)) == pytest.approx(expected, abs=0.5)


def test_a_file_of_the_library_with_nan_around_the_body() -> None:
    source = open_source(NIBABEL / "resampled_anat_moved.nii")
    notes = [source.picture(index).notes for index in usable(source)]
    assert set(notes) == {(Note.NOT_FINITE,)}


def test_files_of_the_library_that_are_not_read() -> None:
    refused(NIBABEL / "nifti1.hdr", Reason.UNSUPPORTED_CONTENT)
    refused(NIBABEL / "analyze.hdr", Reason.NOT_NIFTI)
    refused(NIBABEL / "row_major.dconn.nii", Reason.NOT_3D)
    refused(NIBABEL / "test.mgz", Reason.NOT_AN_IMAGE)
