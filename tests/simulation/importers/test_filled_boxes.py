"""Masks that are boxes filled in become the boxes, and no other mask does."""

import re

import numpy as np
import pytest
from dicoms import write_dicom
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scorable import write_nifti
from typer.testing import CliRunner

from ra_core.config import PreprocessingConfig
from ra_core.data import Box, Manifest, parse_boxes
from ra_core.data.dataset import ImageSet
from ra_core.errors import DataError, ManifestError
from simulation.cli import app
from simulation.importers.filled_boxes import boxes_of, write_boxes

HEADER = "path,site,anatomy,modality,split,label,pathology,patient_id,lesion_mask,boxes"
SHAPE = (40, 56)


def filled(*boxes):
    mask = np.zeros(SHAPE, bool)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = True
    return mask


@pytest.fixture
def root(tmp_path):
    """Two films with filled boxes, one with two that overlap, a healthy one, and another site's row without a file."""
    draw = np.random.default_rng(0)
    masks = {
        "one": filled((3, 5, 20, 30)),
        "two": filled((1, 2, 9, 9), (30, 12, 50, 33)),
        "over": filled((3, 5, 20, 30), (10, 10, 40, 38)),
    }
    rows = ["gone.png,other,chest,CR,train,healthy,,q,,"]
    for name in ("well", *masks):
        Image.fromarray(draw.integers(0, 255, SHAPE).astype(np.uint8)).save(tmp_path / f"{name}.png")
        has = name in masks
        mask = f"{name}_mask.png" if has else ""
        label = "anomalous" if has else "healthy"
        rows.append(f"{name}.png,here,chest,CR,test,{label},{'opacity' * has},p {name},{mask},")
        if has:
            Image.fromarray(masks[name]).save(tmp_path / mask)
    (tmp_path / "manifest.csv").write_text("\n".join([HEADER, *rows]))
    return tmp_path


def sides(length):
    """Where three boxes may begin and end along one side, with a gap between them."""
    places = st.lists(st.integers(0, length), min_size=6, max_size=6, unique=True)
    return places.map(sorted).filter(lambda p: p[2] > p[1] + 1 and p[4] > p[3] + 1)


@given(rows=sides(SHAPE[0]), columns=sides(SHAPE[1]))
def test_boxes_apart_come_back_as_they_were_drawn(rows, columns):
    boxes = [Box(columns[i], rows[j], columns[i + 1], rows[j + 1]) for i, j in zip((0, 2, 4), (4, 0, 2), strict=True)]
    assert set(boxes_of(filled(*boxes))) == set(boxes)


@given(mask=st.lists(st.booleans(), min_size=30, max_size=30).map(lambda bits: np.array(bits).reshape(5, 6)))
def test_what_is_given_back_fills_the_same_mask_or_is_nothing(mask):
    boxes = boxes_of(mask)
    drawn = np.zeros_like(mask)
    for box in boxes:
        drawn[int(box.top) : int(box.bottom), int(box.left) : int(box.right)] = True
    assert np.array_equal(drawn, mask) or not boxes


@pytest.mark.parametrize(
    "mask",
    [
        filled(),
        filled((3, 5, 20, 30), (10, 10, 40, 38)),
        filled((3, 5, 20, 30), (20, 30, 24, 34)),
        filled((3, 5, 20, 30), (20, 5, 24, 20)),
        filled((1, 1, 4, 4)) | (np.hypot(*np.ogrid[-20:20, -28:28]) < 9),
    ],
    ids=["nothing", "overlapping", "touching at a corner", "touching at a side", "a disc too"],
)
def test_other_masks_have_no_boxes(mask):
    assert boxes_of(mask) == ()


def test_only_the_sites_rows_are_written_with_boxes_for_masks(root):
    told = write_boxes(root / "manifest.csv", "here", root / "boxes.csv")
    rows = {row.path: row for row in Manifest.load(root / "boxes.csv", root).rows}
    assert sorted(rows) == ["one.png", "over.png", "two.png", "well.png"]
    assert parse_boxes(rows["one.png"].boxes) == (Box(3, 5, 20, 30),)
    assert parse_boxes(rows["two.png"].boxes) == (Box(1, 2, 9, 9), Box(30, 12, 50, 33))
    assert rows["over.png"].boxes == rows["well.png"].boxes == ""
    assert {row.lesion_mask for row in rows.values()} == {""}
    assert rows["over.png"].pathology == "opacity"
    assert (told.boxed, told.masked, told.left) == (2, 0, {"lesion masks that are not filled boxes": 1})


def test_a_row_with_boxes_keeps_those(root):
    manifest = root / "manifest.csv"
    manifest.write_text(re.sub("((one|over)_mask.png),", r"\1,3 4 5 6", manifest.read_text()))
    told = write_boxes(manifest, "here", root / "boxes.csv")
    rows = {row.path: row for row in Manifest.load(root / "boxes.csv", root).rows}
    assert rows["one.png"].boxes == rows["over.png"].boxes == "3 4 5 6"
    assert {row.lesion_mask for row in rows.values()} == {""}
    assert (told.boxed, told.masked, told.left) == (3, 0, {})


def test_a_turned_picture_has_its_boxes_as_it_is_stored(root):
    """A mask is drawn on the picture as its file stores it, and so are boxes, though both are shown upside down."""
    pixels = np.random.default_rng(1).integers(0, 4000, SHAPE).astype(np.uint16)
    write_dicom(root / "film.dcm", pixels, PatientOrientation=["L", "H"], ImagerPixelSpacing=[0.2, 0.1])
    manifest = root / "manifest.csv"
    manifest.write_text(manifest.read_text() + "\nfilm.dcm,here,chest,CR,test,anomalous,,p film,two_mask.png,")
    write_boxes(manifest, "here", root / "boxes.csv")
    (row,) = (row for row in Manifest.load(root / "boxes.csv", root).rows if row.path == "film.dcm")
    assert parse_boxes(row.boxes) == (Box(1, 2, 9, 9), Box(30, 12, 50, 33))


def test_a_volume_keeps_its_mask_and_an_empty_mask_is_counted_apart(root):
    Image.fromarray(filled()).save(root / "one_mask.png")
    volume = np.random.default_rng(1).normal(size=(40, 40, 3)).astype(np.float32)
    write_nifti(root / "volume.nii", volume)
    write_nifti(root / "mask.nii", (volume > 1).astype(np.uint8))
    manifest = root / "manifest.csv"
    manifest.write_text(manifest.read_text() + "\nvolume.nii,here,chest,CR,test,anomalous,,p vol,mask.nii,")
    told = write_boxes(manifest, "here", root / "boxes.csv")
    assert (told.boxed, told.masked) == (1, 1)
    assert told.left == {
        "lesion masks that are not filled boxes": 1,
        "lesion masks without anything in them": 1,
        "masks of files with several pictures, which stay": 1,
    }


def test_boxes_lie_where_the_masks_lay(root):
    """Both taken through the preprocessing: a box holds the pixels of its mask, but for those at its border."""
    write_boxes(root / "manifest.csv", "here", root / "boxes.csv")
    by_mask, by_box = (
        ImageSet(Manifest.load(root / name, root, "here").select(label="anomalous"), root, settings, None)
        for settings in [PreprocessingConfig(size=64)]
        for name in ("manifest.csv", "boxes.csv")
    )
    places = by_box.boxes([0])[0]
    drawn = np.zeros((64, 64), bool)
    for place in places:
        drawn[place] = True
    differs = drawn ^ np.asarray(by_mask.masks([0])[0])
    assert by_box.rows[0].path == "one.png"
    assert differs.sum() < 0.1 * drawn.sum()


def test_what_can_not_be_written_is_told_and_nothing_is_there(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "boxes.csv"
    (root / "mine.csv").write_text("mine")
    for site, out, kind, reason in (
        ("here", elsewhere, DataError, "not beside manifest.csv"),
        ("here", root / "mine.csv", DataError, "there is something already"),
        ("nobody", root / "boxes.csv", ManifestError, "no row of site 'nobody'"),
    ):
        with pytest.raises(kind, match=re.escape(reason)) as caught:
            write_boxes(root / "manifest.csv", site, out)
        assert caught.value.hint
    for name in ("one", "two"):
        (root / f"{name}_mask.png").unlink()
        Image.fromarray(filled((3, 5, 20, 30), (10, 10, 40, 38))).save(root / f"{name}_mask.png")
    with pytest.raises(DataError, match="no lesion mask of site 'here' is made of filled boxes"):
        write_boxes(root / "manifest.csv", "here", root / "boxes.csv")
    assert (root / "mine.csv").read_text() == "mine"
    assert not (root / "boxes.csv").exists()


def test_the_command_tells_what_it_counted(root):
    done = CliRunner().invoke(
        app, ["boxes", str(root / "manifest.csv"), "--site", "here", "--out", str(root / "boxes.csv")]
    )
    assert done.exit_code == 0
    assert done.stdout.strip() == str(root / "boxes.csv")
    assert "4 images of 4 patients; 2 with boxes, 0 with lesion masks" in done.stderr
    assert "left aside: 1 lesion masks that are not filled boxes" in done.stderr
