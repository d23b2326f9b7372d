import numpy as np
import pytest
from scans import ct_slice, entry, picture

from ra_core.data.readers.refusal import Reason
from ra_core.data.readers.source import Facts
from ra_core.data.scan import THUMBNAIL, Entry
from ra_core.data.scan.duplicates import Claim, without_duplicates


def left_aside(*entries):
    after = without_duplicates(entries)
    assert [one.path for one in after] == [one.path for one in entries]
    assert all(one.pictures for one in after if one.accepted)
    return [one.path for one in after if one.reason == Reason.DUPLICATE]


def test_the_first_of_equal_pictures_is_kept_whatever_the_patient_and_format():
    copies = [entry("a.png", "x"), entry("b.dcm", "x", "other", kind="dicom"), entry("c.png"), entry("d.png", "x")]
    assert left_aside(*copies) == ["b.dcm", "d.png"]


def test_a_file_that_is_not_used_hides_no_other():
    assert left_aside(entry("a", "x", reason=Reason.WRONG_BODY_PART), entry("b", "x")) == []


def volume(path, *contents):
    pictures = tuple(picture(content, frame) for frame, content in enumerate(contents))
    return Entry(path, None, facts=Facts("nifti", len(contents), (64, 64)), pictures=pictures)


def test_a_volume_is_a_copy_only_as_a_whole():
    assert left_aside(volume("a", 1, 2), volume("b", 1, 2), volume("c", 1, 2, 3), entry("d", 3)) == ["b", "d"]


def test_slices_at_two_places_may_be_equal():
    assert left_aside(ct_slice("a", -3, content="x"), ct_slice("b", 3, content="x")) == []


def test_slices_at_one_place_of_a_series_are_one():
    assert left_aside(ct_slice("a", 3, content="x"), ct_slice("b", 3.0001, content="x")) == ["b"]


def test_series_of_one_patient_may_cross_and_those_of_two_may_not():
    first = ct_slice("a", 3, content="x", patient="p")
    assert left_aside(first, ct_slice("b", 3, content="x", series="2", patient="p")) == []
    assert left_aside(first, ct_slice("b", 3, content="x", series="2", patient="q")) == ["b"]


def test_a_picture_without_a_place_is_a_copy_of_one_with():
    assert left_aside(ct_slice("a", 3, content="x"), entry("b.png", "x")) == ["b.png"]
    assert left_aside(entry("a.png", "x"), ct_slice("b", 3, content="x")) == ["b"]


@pytest.mark.parametrize(("difference", "copy"), [(1, True), (60, False)])
def test_one_uid_is_one_picture_if_it_looks_so(difference, copy):
    # packed anew with other losses; or a program wrote one UID into all its files
    grey = np.full((THUMBNAIL, THUMBNAIL), 90, np.uint8)
    files = [
        entry("a", 1, kind="dicom", instance="1.2.3", thumbnail=grey),
        entry("b", 2, kind="dicom", instance="1.2.3", thumbnail=grey + np.uint8(difference)),
    ]
    assert left_aside(*files) == ["b"] * copy


WELL, SICK, VAL = Claim("healthy", "train"), Claim("anomalous", "test"), Claim("healthy", "val")


def after(*entries, **claims):
    return {one.path: (one.copies, one.lost) for one in without_duplicates(entries, claims) if not one.accepted}


def test_a_copy_tells_of_which_file_and_the_one_to_train_on_is_kept():
    entries = [entry(name, "x") for name in "abc"]
    assert after(*entries, a=VAL, b=WELL, c=VAL) == {"a": ("b", False), "c": ("b", False)}


def test_files_of_both_labels_go_with_their_copies_and_are_lost():
    entries = [entry(name, "x") for name in "abc"] + [entry("d", "y")]
    both = {"a": ("a", True), "b": ("a", True), "c": ("a", True)}
    assert after(*entries, a=WELL, b=WELL, c=SICK, d=SICK) == both
    assert after(*entries, a=SICK, b=WELL, c=WELL, d=WELL) == both


def test_a_volume_and_a_picture_of_it_with_another_label_are_both_in_dispute():
    entries = [volume("a", 1, 2), volume("b", 2, 3), entry("c", 2), entry("d", 4)]
    told = after(*entries, a=WELL, b=WELL, c=SICK, d=WELL)
    assert told == {"a": ("a", True), "b": ("a", True), "c": ("a", True)}
    assert after(volume("a", 1, 2), volume("b", 2, 3), a=WELL, b=WELL) == {}


def test_the_name_of_the_original_is_not_printed():
    _, copy = without_duplicates([entry("secret", "x"), entry("t", "x")])
    assert copy.copies == "secret"
    assert "secret" not in repr(copy)
