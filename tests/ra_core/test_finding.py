"""Which files get a score, and which are left aside before they are opened."""

import os
from pathlib import Path

import pytest
from scorable import as_nifti, blur_model, head, heads, write_nifti, write_png, write_series

from ra_core.config import DataConfig
from ra_core.data.readers.refusal import Reason
from ra_core.finding import find

TERMS = blur_model().terms
MASK = Reason.MASK_OF_ANOTHER_FILE


def files(items, folder):
    """Reasons by path below a folder."""
    return {item.files[0].relative_to(folder.resolve()).as_posix(): item.reason for item in items}


def touch(folder, *names):
    for name in names:
        write_png(folder / name, head((40, 40)))


# --- masks


def test_masks_beside_their_images_are_left_aside(tmp_path):
    touch(tmp_path, "a/x.png", "a/x_mask.png", "a/y-seg.png", "b/x_mask.png", "b/y.png")
    write_nifti(tmp_path / "v.nii.gz", as_nifti(heads(3)))
    write_nifti(tmp_path / "v_seg.nii.gz", as_nifti(heads(3)))
    found = files(find([tmp_path], TERMS), tmp_path)
    assert {path for path, reason in found.items() if reason == MASK} == {"a/x_mask.png", "v_seg.nii.gz"}
    assert set(found.values()) == {None, MASK}


def test_a_mask_of_what_is_no_image_or_not_there_is_a_picture_like_any_other(tmp_path):
    touch(tmp_path, "x_mask.png", "y_mask.png")
    (tmp_path / "x.txt").write_text("a report")
    assert set(files(find([tmp_path], TERMS), tmp_path).values()) == {None}


def test_a_mask_is_left_aside_beside_its_image_and_taken_by_itself(tmp_path):
    touch(tmp_path, "x.png", "x_mask.png")
    image, mask = tmp_path / "x.png", tmp_path / "x_mask.png"
    both = find([mask, image], TERMS)
    assert files(both, tmp_path) == {"x.png": None, "x_mask.png": MASK}
    assert [item.named for item in both] == [False, True]
    assert files(find([mask], TERMS), tmp_path) == {"x_mask.png": None}


def test_the_mask_of_a_slice_is_no_slice(tmp_path):
    first, *_ = write_series(tmp_path, heads(3))
    write_series(tmp_path / "masks", heads(4)[3:], spacing=9.0)[0].rename(first.with_name("IM0000_mask.dcm"))
    items = find([tmp_path], TERMS)
    assert sorted((len(item.files), item.reason) for item in items if item.files) == [(1, MASK), (3, None)]


# --- what a site ignores


def data(root=None, ignored=("**/*_mask.png", "old/**")):
    return DataConfig.model_validate({"site": "x", "root": root, "folder": {"ignored": ignored}})


def test_what_the_site_ignores_is_left_aside(tmp_path):
    touch(tmp_path, "x.png", "y_mask.png", "old/x.png", "new/old/x.png")
    expected = {"x.png": None, "y_mask.png": Reason.IGNORED, "old/x.png": Reason.IGNORED, "new/old/x.png": None}
    assert files(find([tmp_path], TERMS, data=data()), tmp_path) == expected
    assert files(find([tmp_path], TERMS, data=data(tmp_path)), tmp_path) == expected
    assert set(files(find([tmp_path], TERMS), tmp_path).values()) == {None}


def test_rules_go_by_the_path_below_the_data_root_where_the_file_is_there(tmp_path, monkeypatch):
    touch(tmp_path, "data/old/x.png", "data/new/x.png", "else/old/x.png", "else/old.png")
    monkeypatch.chdir(tmp_path)
    items = find([Path("data/old"), Path("data/new/x.png"), Path("else")], TERMS, data=data(Path("data")))
    assert files(items, tmp_path) == {
        "data/old/x.png": Reason.IGNORED,
        "data/new/x.png": None,
        "else/old/x.png": Reason.IGNORED,
        "else/old.png": None,
    }


def test_a_named_file_that_the_site_ignores_is_left_aside_as_if_it_had_been_met(tmp_path):
    touch(tmp_path, "y_mask.png")
    (item,) = find([tmp_path / "y_mask.png"], TERMS, data=data())
    assert (item.reason, item.named) == (Reason.IGNORED, False)


# --- once


@pytest.mark.parametrize("folder_first", [True, False])
def test_a_file_that_is_named_and_met_is_there_once_and_stays_named(tmp_path, folder_first):
    touch(tmp_path, "x.png", "y.png")
    paths = [tmp_path / "x.png", tmp_path]
    items = find(paths[::-1] if folder_first else paths, TERMS)
    assert [(item.files[0].name, item.named) for item in items] == [("x.png", True), ("y.png", False)]


def test_other_spellings_of_a_path_are_the_same_file(tmp_path, monkeypatch):
    touch(tmp_path, "real/x.png")
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    ways = [Path("real/x.png"), Path("link/x.png"), Path("real/../link/x.png"), tmp_path / "real", Path("link")]
    (item,) = find(ways, TERMS)
    assert item.named


def test_a_hidden_folder_that_is_asked_for_is_looked_into_whatever_else_is(tmp_path):
    touch(tmp_path, ".hidden/x.png")
    for paths in ([tmp_path, tmp_path / ".hidden"], [tmp_path / ".hidden", tmp_path]):
        (item,) = find(paths, TERMS)
        assert item.reason is None
    (item,) = find([tmp_path], TERMS)
    assert item.reason == Reason.SYSTEM_FILE


def test_a_pipe_is_no_image_that_a_mask_belongs_to(tmp_path):
    touch(tmp_path, "x_mask.png")
    os.mkfifo(tmp_path / "x.png")
    assert files(find([tmp_path], TERMS), tmp_path) == {"x.png": Reason.NOT_A_FILE, "x_mask.png": None}
