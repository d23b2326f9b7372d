import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ra_core.data.scan.text import text_share

CORNERS = {
    "upper left": (0.03, 0.03),
    "lower left": (0.03, 0.9),
    "upper right": (0.55, 0.03),
    "lower right": (0.55, 0.9),
}


def body(side=256, ratio=1.0):
    """A grey oval with texture on black, 0 to 200."""
    height = round(side * ratio)
    rows, columns = np.mgrid[:height, :side]
    inside = np.hypot((rows / height - 0.5) / 0.42, (columns / side - 0.5) / 0.4) < 1
    texture = 120 + 40 * np.sin(rows / side * 40) * np.cos(columns / side * 30)
    noise = np.random.default_rng(0).normal(0, 5, inside.shape)
    return ((inside * texture) + noise).clip(0, 200).astype(np.float32)


def written(pixels, text, place, height, value=255):
    """With text of a height given as a share of the picture's."""
    image = Image.fromarray(pixels)
    where = place[0] * image.width, place[1] * image.height
    ImageDraw.Draw(image).text(where, text, fill=value, font=ImageFont.load_default(max(10, height * image.height)))
    return np.asarray(image)


@pytest.mark.parametrize("place", CORNERS.values(), ids=CORNERS)
@pytest.mark.parametrize("side", [128, 256, 512])
@pytest.mark.parametrize("text", ["DOE JANE", "1970-01-01", "PORTABLE"])
def test_a_line_of_text_near_a_border_is_seen(place, side, text):
    if side == 128 and place[0] > 0.5:
        place = (0.3, place[1])  # ten pixels is the smallest font
    share = text_share(written(body(side), text, place, 0.04))
    assert 0.0005 < share < 0.1


def test_large_pictures_are_shrunk_without_losing_strokes():
    assert text_share(written(body(2500), "DOE JANE", (0.03, 0.03), 0.02)) > 0.0005


@pytest.mark.parametrize("unit", [lambda x: x, lambda x: 16 * x - 1024, lambda x: x / 1e4])
def test_units_do_not_matter(unit):
    pixels = written(body(), "DOE JANE", (0.03, 0.03), 0.05)
    assert text_share(unit(pixels).astype(np.float32)) == pytest.approx(text_share(pixels), rel=0.2)


@pytest.mark.parametrize("ratio", [0.5, 1, 2])
def test_a_picture_without_text_has_none(ratio):
    assert text_share(body(ratio=ratio)) == 0


@pytest.mark.parametrize("letter", ["R", "L", "AP"])
def test_a_marker_of_the_side_is_no_text(letter):
    assert text_share(written(body(), letter, (0.05, 0.05), 0.08)) == 0


def test_lines_in_the_middle_are_anatomy():
    assert text_share(written(body(), "DOE JANE", (0.3, 0.48), 0.05)) == 0


def test_faint_letters_are_no_burned_in_text():
    assert text_share(written(body(), "DOE JANE", (0.03, 0.03), 0.05, value=60)) == 0


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((40, 40)),
        np.full((1, 1), 3),
        np.arange(40)[None],
        np.arange(3000)[None],
        np.random.default_rng(0).normal(size=(300, 300)),
        np.indices((256, 256)).sum(0) % 2,
    ],
)
def test_any_other_picture_gives_a_share_and_no_error(pixels):
    assert 0 <= text_share(pixels.astype(np.float32)) < 0.01


def test_a_name_in_the_pixels_of_a_public_case_is_seen(shared):
    import pydicom

    folder = shared / "cases" / "imaging" / "15_privacy_and_split"
    assert text_share(pydicom.dcmread(folder / "burned_no_flag.dcm").pixel_array.astype(np.float32)) > 0.01
    assert text_share(pydicom.dcmread(folder / "p1_first.dcm").pixel_array.astype(np.float32)) == 0


@pytest.mark.parametrize("site", ["guangzhou", "hilla", "tcga_cs", "fracatlas"])
def test_real_images_without_text_raise_no_alarm_and_with_text_nearly_all_do(shared, site):
    files = sorted((shared / "data" / site / "test" / "healthy").glob("*.jpg"))[:18]
    images = [np.asarray(Image.open(file).convert("L"), dtype=np.float32) for file in files]
    assert sum(text_share(image) > 0 for image in images) == 0
    seen = [text_share(written(image, "DOE JANE 1970", (0.03, 0.02), 0.05)) > 0 for image in images]
    assert sum(seen) >= 0.9 * len(seen)
