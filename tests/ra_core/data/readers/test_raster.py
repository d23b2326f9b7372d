import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from reading import refused

from ra_core.config import PreprocessingConfig
from ra_core.data import load_image
from ra_core.data.readers import Note, Reading, Reason, open_source, read_pixels
from ra_core.errors import DataError

GREY = np.arange(12 * 8, dtype=np.uint8).reshape(12, 8) * 2
CASE = "13_png_and_jpeg"


def save(path: Path, pixels: NDArray[np.generic], **options: object) -> Path:
    PIL.Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_grey_pictures_are_read_as_they_are(tmp_path: Path, suffix: str) -> None:
    source = open_source(save(tmp_path / f"a.{suffix}", GREY))
    raw, facts = source.picture(0), source.facts
    np.testing.assert_array_equal(raw.pixels, GREY)
    assert (raw.pixels.dtype, raw.spacing, raw.kind, raw.notes) == (np.float32, None, "raster", ())
    assert (facts.kind, facts.frames, facts.shape, facts.spacing, facts.bits) == ("raster", 1, (12, 8), None, 8)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_kept(tmp_path: Path, suffix: str) -> None:
    deep = GREY.astype(np.uint16) * 300
    file = save(tmp_path / f"a.{suffix}", deep)
    np.testing.assert_array_equal(read_pixels(file).pixels, deep)
    assert open_source(file).facts.bits == 16


def test_one_bit_floats_and_big_endian(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_pixels(save(tmp_path / "a.png", GREY > 99)).pixels, GREY > 99)
    assert open_source(tmp_path / "a.png").facts.bits == 1
    real = GREY.astype(np.float32) / 7 - 3
    np.testing.assert_array_equal(read_pixels(save(tmp_path / "a.tif", real)).pixels, real)
    PIL.Image.frombytes("I;16B", (8, 12), (GREY.astype(np.uint16) * 300).astype(">u2").tobytes()).save(
        tmp_path / "b.tif"
    )
    np.testing.assert_array_equal(read_pixels(tmp_path / "b.tif").pixels, GREY.astype(np.int64) * 300)


def test_grey_in_colours_is_grey_and_alpha_is_no_intensity(tmp_path: Path) -> None:
    alpha = np.indices(GREY.shape).sum(0).astype(np.uint8) * 9
    same = np.stack([GREY] * 3, axis=2)
    for name, pixels in (
        ("rgb", same),
        ("rgba", np.dstack([same, alpha])),
        ("la", np.dstack([GREY, alpha])),
    ):
        np.testing.assert_array_equal(read_pixels(save(tmp_path / f"{name}.png", pixels)).pixels, GREY)
    for mode, suffix in (("CMYK", "tif"), ("YCbCr", "tif")):
        PIL.Image.fromarray(same).convert(mode).save(tmp_path / f"{mode}.{suffix}")
        np.testing.assert_allclose(read_pixels(tmp_path / f"{mode}.{suffix}").pixels, GREY, atol=1)


def test_a_palette_is_applied(tmp_path: Path) -> None:
    image = PIL.Image.fromarray(255 - GREY)
    image.putpalette([255 - value // 3 for value in range(768)])
    assert image.mode == "P"
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png").pixels, GREY)
    assert open_source(tmp_path / "a.png").facts.bits == 8
    image.putpalette([(value * 7) % 256 for value in range(768)])
    image.save(tmp_path / "b.png")
    refused(tmp_path / "b.png", Reason.COLOUR_IMAGE)


def test_real_colour_is_refused(tmp_path: Path) -> None:
    colour = np.stack([GREY] * 3, axis=2)
    colour[3, 3, 1] += 1
    refused(save(tmp_path / "a.png", colour), Reason.COLOUR_IMAGE)
    PIL.Image.fromarray(colour).convert("LAB").save(tmp_path / "a.tif")
    refused(tmp_path / "a.tif", Reason.COLOUR_IMAGE)


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_deep_colours_are_refused_and_never_cut_to_eight_bits(tmp_path: Path, kind: int, channels: int) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    lines = b"".join(b"\0" + bytes(8 * channels * 2) for _ in range(12))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 12, 16, kind, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(png + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))
    assert "16 bits" in refused(tmp_path / "a.png", Reason.UNSUPPORTED_CONTENT).message


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_the_exif_turn_is_applied_once(tmp_path: Path, suffix: str, turn: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = turn
    big = np.kron(GREY, np.ones((8, 8), np.uint8))
    turned = {
        1: big,
        2: big[:, ::-1],
        3: big[::-1, ::-1],
        4: big[::-1],
        5: big.T,
        6: np.rot90(big, -1),
        7: big[::-1, ::-1].T,
        8: np.rot90(big),
    }[turn]
    file = save(tmp_path / f"a.{suffix}", big, exif=exif)
    np.testing.assert_allclose(read_pixels(file).pixels, turned, atol=8 if suffix == "jpg" else 0)
    assert open_source(file).facts.shape == turned.shape


def test_white_is_zero_is_turned_round(tmp_path: Path) -> None:
    deep = GREY.astype(np.uint16) * 300
    file = save(tmp_path / "a.tif", deep, tiffinfo={262: 0})
    with PIL.Image.open(file) as image:
        assert image.getexif()[262] == 0
    np.testing.assert_array_equal(read_pixels(file).pixels, 65535 - deep.astype(np.int64))
    shallow = save(tmp_path / "b.tif", GREY, tiffinfo={262: 0})
    with PIL.Image.open(shallow) as image:
        as_shown = np.asarray(image)  # Pillow turns 8 bits round itself, on both ways
    np.testing.assert_array_equal(read_pixels(shallow).pixels, as_shown)
    refused(save(tmp_path / "c.tif", GREY.astype(np.float32), tiffinfo={262: 0}), Reason.UNSUPPORTED_CONTENT)


def test_several_pictures_in_one_file_are_refused(tmp_path: Path) -> None:
    first, second = PIL.Image.fromarray(GREY), PIL.Image.fromarray(GREY + 1)
    for suffix in ("tif", "png"):
        first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=[second])
        refused(tmp_path / f"a.{suffix}", Reason.UNSUPPORTED_CONTENT)


def test_cut_and_damaged_pictures_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    for suffix in ("png", "jpg", "bmp"):
        file = save(tmp_path / f"a.{suffix}", noise)
        file.write_bytes(file.read_bytes()[:-600])
        refused(file, Reason.TRUNCATED)
    content = bytearray(save(tmp_path / "b.png", noise, compress_level=0).read_bytes())
    content[len(content) // 2] ^= 1  # decodes, to another grey value
    (tmp_path / "b.png").write_bytes(content)
    refused(tmp_path / "b.png", Reason.DAMAGED)
    assert not PIL.ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("side", [9_000, 11_000, 14_000])
def test_a_bomb_is_refused_from_its_header(tmp_path: Path, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    PIL.Image.new("1", (side, side)).save(tmp_path / "a.png")
    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", None)
    refused(tmp_path / "a.png", Reason.TOO_LARGE)


def test_the_limit_is_that_of_the_settings(tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", GREY)
    refused(file, Reason.TOO_LARGE, Reading(max_pixels=GREY.size - 1))
    assert read_pixels(file, Reading(max_pixels=GREY.size)).pixels.size == GREY.size


def test_a_window_in_hounsfield_units_is_not_applied(tmp_path: Path) -> None:
    raw = read_pixels(save(tmp_path / "a.png", GREY), Reading(window="brain"))
    np.testing.assert_array_equal(raw.pixels, GREY)
    assert raw.notes == (Note.WINDOW_NOT_APPLIED,)


@settings(max_examples=30, deadline=None)
@given(
    arrays(np.uint16, st.tuples(st.integers(2, 20), st.integers(2, 20))),
    st.sampled_from(["png", "tif"]),
)
def test_any_grey_picture_comes_back(
    tmp_path_factory: pytest.TempPathFactory, pixels: NDArray[np.uint16], suffix: str
) -> None:
    file = save(tmp_path_factory.mktemp("a") / f"a.{suffix}", pixels)
    if pixels.min() == pixels.max():
        refused(file, Reason.CONSTANT_IMAGE)
    else:
        np.testing.assert_array_equal(read_pixels(file).pixels, pixels)


def files(shared: Path) -> tuple[Path, list[dict]]:
    folder = shared / "cases" / "imaging"
    cases = yaml.safe_load((folder / "cases.yaml").read_text(encoding="utf-8"))["cases"]
    return folder / CASE, next(case["files"] for case in cases if case["id"] == CASE)


def test_case_13(shared: Path) -> None:
    folder, declared = files(shared)
    preprocessing = PreprocessingConfig(size=128)
    reference = load_image(folder / "grey8.png", preprocessing).pixels.ravel()
    for file in declared:
        path, name, expect = folder / file["file"], file["file"], file.get("expect", {})
        if file["outcome"] == "skip":
            with pytest.raises(DataError) as caught:
                load_image(path, preprocessing)
            assert caught.value.code == file["reason"], name
            assert name in caught.value.message
            continue
        source = open_source(path, Reading.of(preprocessing))
        pixels = source.picture(0).pixels
        assert list(pixels.shape) == list(source.facts.shape) == expect["shape"], name
        _check_probes(pixels, expect.get("probes", {"bright": [], "dark": []}), name)
        if "value_range" in expect:
            assert [pixels.min(), pixels.max()] == expect["value_range"], name
            assert np.unique(pixels).size >= expect["distinct_levels_at_least"]
        agreement = np.corrcoef(reference, load_image(path, preprocessing).pixels.ravel())[0, 1]
        lossless = name in ("palette.png", "rgba.png", "grey16.png")
        assert agreement >= (0.99 if lossless else 0.98), (name, agreement)


def _check_probes(pixels: NDArray[np.float32], probes: dict[str, list[list[int]]], name: str) -> None:
    scaled = (pixels - pixels.min()) / np.ptp(pixels)
    bright, dark = ([scaled[row, column] for row, column in probes[key]] for key in ("bright", "dark"))
    if bright:
        assert min(bright) - max(dark) >= 0.2, name


def test_real_rasters(shared: Path) -> None:
    formats = shared / "data" / "formats"
    refused(formats / "xray_truncated.jpg", Reason.TRUNCATED)
    refused(formats / "mr_three_sequences_as_rgb.tif", Reason.COLOUR_IMAGE)
    mask = read_pixels(formats / "mr_three_sequences_as_rgb_mask.tif").pixels
    assert mask.shape == (256, 256)
    assert set(np.unique(mask)) == {0, 255}
