import doctest
from dataclasses import replace

import nibabel as nib
import numpy as np
import PIL.Image
import pytest
from dicoms import write_dicom, write_enhanced
from hypothesis import given
from hypothesis import strategies as st

from ra_core.config import PreprocessingConfig
from ra_core.data import Box, ImageSet, KnownBoxes, Row, boxes, boxes_text, parse_boxes
from ra_core.data.readers import Turn, stored, upright, upright_box
from ra_core.errors import DataError

CONFIG = PreprocessingConfig(size=64)
AT = Box(12, 30, 26, 54)
"""On pictures of 80 rows and 60 columns."""
TEXT = boxes_text([AT])


def picture(kind=np.uint8):
    """Dark grey noise, white in the box; a black rim keeps the percentiles from it."""
    pixels = np.random.default_rng(0).integers(20, 40, (80, 60)).astype(kind)
    pixels[int(AT.top) : int(AT.bottom), int(AT.left) : int(AT.right)] = 250
    return pixels


def row(path, text, **changes):
    return replace(Row(path, "x", "none", "OT", "test", "anomalous", "", path, "", "", "", 2, boxes=text), **changes)


def images(root, path, text=TEXT):
    return ImageSet([row(path, text)], root, CONFIG, None, frames={path: [0]})


def assert_on_white(found):
    """The box is where the image is white."""
    (place,) = found.boxes([0])[0]
    white = found.images([0])[0, 0].numpy() > 0.5
    inside = np.zeros_like(white)
    inside[place] = True
    assert (inside & white).sum() > 0.8 * (inside | white).sum()


def test_docstring_examples():
    assert doctest.testmod(boxes).failed == 0


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_cell_has_no_boxes(text):
    assert parse_boxes(text) == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 2 3", "box 1 is not four numbers"),
        ("1 2 3 4;", "box 2 is not four numbers"),
        ("1 2 3 4, 5 6 7 8", "box 1 is not four numbers"),
        ("1 2 3 nan", "box 1 is not four numbers"),
        ("-1 2 3 4", "box 1 is not four numbers"),
        ("1 2 1e3 4", "box 1 is not four numbers"),
        ("1 2 3 ٤", "box 1 is not four numbers"),
        ("0 0 1 1; 5 2 5 4", "box 2 ends before it begins"),
        ("5 4 6 2", "box 1 ends before it begins"),
    ],
)
def test_what_is_no_box_is_told_by_number(text, reason):
    with pytest.raises(ValueError, match=f"^{reason}$"):
        parse_boxes(text)


@given(st.lists(st.tuples(*[st.integers(0, 10**6)] * 2, *[st.integers(1, 10**6)] * 2), min_size=1))
def test_what_is_written_is_read_to_a_hundredth(parts):
    expected = tuple(Box(x / 100, y / 100, (x + w) / 100, (y + h) / 100) for x, y, w, h in parts)
    assert parse_boxes(boxes_text(expected)) == expected


@given(st.booleans(), st.booleans(), st.booleans())
def test_a_box_turns_with_its_picture(transpose, flip_rows, flip_columns):
    turn = Turn(transpose, flip_rows, flip_columns)
    box = upright_box(AT, turn, upright(picture(), turn).shape)
    part = upright(picture(), turn)[int(box.top) : int(box.bottom), int(box.left) : int(box.right)]
    assert (part == 250).all()
    assert part.size == (stored(upright(picture(), turn), turn) == 250).sum()


def test_boxes_lie_on_the_image_of_a_picture_that_is_not_square(tmp_path):
    PIL.Image.fromarray(picture()).save(tmp_path / "a.png")
    assert_on_white(images(tmp_path, "a.png"))


def test_a_raster_picture_counts_as_shown_with_its_turn(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    shown = PIL.Image.fromarray(picture())
    shown.transpose(PIL.Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    assert_on_white(images(tmp_path, "a.png"))


@pytest.mark.parametrize("sides", [["L", "F"], ["R", "F"], ["F", "L"], ["H", "R"], ["L", "H"]])
def test_a_dicom_picture_counts_as_stored(tmp_path, sides):
    write_dicom(tmp_path / "a.dcm", picture(np.uint16), PatientOrientation=sides, ImagerPixelSpacing=[0.2, 0.1])
    assert_on_white(images(tmp_path, "a.dcm"))


def test_boxes_on_volumes_are_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.ones((40, 40, 1), np.int16), np.eye(4)), tmp_path / "one.nii.gz")
    write_enhanced(tmp_path / "two.dcm", np.ones((2, 40, 40), np.uint16), heights=[0, 1])
    for path in ("one.nii.gz", "two.dcm"):
        with pytest.raises(DataError, match=f"{path}: boxes don't say on which slice") as caught:
            images(tmp_path, path, "1 1 5 5").boxes([0])
        assert caught.value.code == "box_unfit"
        assert "lesion_mask" in caught.value.hint


def test_a_box_beyond_its_picture_is_refused_but_for_a_pixel_of_rounding(tmp_path):
    PIL.Image.fromarray(picture()).save(tmp_path / "a.png")
    ((rows, columns),) = images(tmp_path, "a.png", "50 70 61 81").boxes([0])[0]
    assert (rows, columns) == (slice(56, 64), slice(48, 56))  # 80 × 60 in 64 × 64, from column 8
    for text in ("50 70 61.5 80", "50 70 60 81.5"):
        with pytest.raises(DataError, match="a box reaches beyond 80 × 60 pixels"):
            images(tmp_path, "a.png", text).boxes([0])


def test_a_sets_boxes_are_those_of_images_with_any(tmp_path):
    for name in "abc":
        PIL.Image.fromarray(picture()).save(tmp_path / f"{name}.png")
    rows = [row("a.png", "", label="healthy"), row("b.png", "1 1 9 9; 20 20 40 60"), row("c.png", "")]
    test = ImageSet(rows, tmp_path, CONFIG, None)
    known = KnownBoxes.of(test)
    assert (known.indices, known.patients, [len(places) for places in known.boxes]) == ([1], ["b.png"], [2])
    assert test.boxes([0, 2]) == [(), ()]


def test_the_fingerprint_follows_the_boxes(tmp_path):
    PIL.Image.fromarray(picture()).save(tmp_path / "a.png")
    prints = {images(tmp_path, "a.png", text).fingerprint() for text in ("", "1 1 9 9", "1 1 9 8")}
    assert len(prints) == 3
