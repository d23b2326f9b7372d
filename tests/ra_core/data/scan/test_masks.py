import pytest
from hypothesis import given
from hypothesis import strategies as st

from ra_core.data.scan.masks import mask_end, masks_beside


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("a/scan_mask.png", "_mask"),
        ("scan-seg.nii.gz", "-seg"),
        ("1.2.3_mask.dcm", "_mask"),
        ("SCAN_MASK.PNG", "_MASK"),
        ("mask.png", ""),
        ("scan_mask", ""),
        ("scan_masked.png", ""),
        ("a_mask.d/scan.png", ""),
    ],
)
def test_names_that_are_those_of_masks(path, end):
    assert mask_end(path) == end


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("a/scan.png", "a/scan_mask.png"),
        ("a/scan.jpg", "a/scan_mask.png"),
        ("a/scan", "a/scan_mask.png"),
        ("a/scan.nii.gz", "a/scan_seg.nii.gz"),
        ("a/scan.nii", "a/scan_seg.nii.gz"),
        ("a/1.2.3.dcm", "a/1.2.3-mask.png"),
    ],
)
def test_a_mask_has_the_name_of_its_image(image, mask):
    assert masks_beside([mask, image]) == {mask: [image]}


@pytest.mark.parametrize(
    "paths",
    [
        ["scan_mask.png"],
        ["a/scan_mask.png", "b/scan.png"],
        ["scan_mask.png", "scan2.png"],
        ["a/_mask.png", "a/.hidden"],
        ["a_mask.png", "a_mask.jpg"],
    ],
)
def test_no_mask_without_its_image_in_the_same_folder(paths):
    assert masks_beside(paths) == {}


@given(st.lists(st.text("ab._-/", max_size=6).map(lambda name: f"{name}_mask.png"), max_size=6))
def test_masks_alone_are_masks_of_each_other_only_where_they_are_called_so(paths):
    for mask, images in masks_beside(paths).items():
        assert all(mask.startswith(image.removesuffix(".png")) and mask != image for image in images)
