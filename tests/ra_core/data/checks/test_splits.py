import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ra_core.data.checks import Code, Level, splits
from ra_core.data.checks.pictures import unit


def codes(findings):
    return [finding.code for finding in findings]


def test_a_clean_site_has_nothing_across_splits(site):
    assert not list(splits.check_patients(site.scan, site.rows))
    assert not list(splits.check_copies(site.pictures))
    assert not list(splits.check_near_copies(site.pictures))


@pytest.mark.parametrize("told_by", ["row", "file", "both"])
def test_a_patient_in_two_splits_is_an_error_whoever_tells(site, told_by):
    patient = "Doe^Jane" if told_by != "file" else None
    key = "Doe^Jane" if told_by != "row" else ""
    site.add(2, "train", patient=patient, key=key).add(1, "test", patient=patient, key=key)
    (finding,) = splits.check_patients(site.scan, site.rows)
    assert (finding.level, finding.code) == (Level.ERROR, Code.PATIENT_IN_TWO_SPLITS)
    assert finding.message.startswith("1 patient with")
    assert len(finding.files) == 3
    assert "Doe" not in str([mention.remark for mention in finding.files])


def test_the_same_pixels_in_two_splits_are_an_error_and_in_one_a_warning(site):
    site.add(1, "train", digest="x").add(1, "test", digest="x").add(2, "train", digest="y")
    across, within = splits.check_copies(site.pictures)
    assert (across.code, across.level, len(across.files)) == (Code.COPIES_ACROSS_SPLITS, Level.ERROR, 2)
    assert (within.code, within.level, len(within.files)) == (Code.COPIES, Level.WARNING, 2)


def test_a_picture_that_is_healthy_and_anomalous_is_an_error(site):
    site.add(1, "test", digest="x").add(1, "test", "anomalous", digest="x")
    (finding,) = splits.check_copies(site.pictures)
    assert (finding.code, finding.level) == (Code.COPIES_ACROSS_LABELS, Level.ERROR)


def test_near_copies_are_found_with_another_contrast_and_told_by_split_and_label(site, make_anatomy):
    rng = np.random.default_rng(5)
    for _ in range(3):
        picture = make_anatomy(rng)
        site.add(1, "train", thumbnail=picture)
        site.add(1, "test", thumbnail=(0.6 * picture + 40 + rng.normal(0, 2, picture.shape)).clip(0, 255).astype("u1"))
    (finding,) = splits.check_near_copies(site.pictures)
    assert finding.level == Level.WARNING
    assert "3 of 23 healthy test images like one in train or val" in finding.message
    for copy, original in zip(finding.files, site.rows[-6::2], strict=True):
        assert copy.like == (original.path, 0)


def test_near_copies_within_a_split_are_no_matter(site, make_anatomy):
    site.add(5, "train", thumbnail=make_anatomy(np.random.default_rng(5)))
    assert not list(splits.check_near_copies(site.pictures))


@given(n=st.integers(1, 9), m=st.integers(1, 9), block=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_the_nearest_is_the_same_however_it_is_cut_into_blocks(n, m, block, seed):
    rng = np.random.default_rng(seed)
    late, early = (rng.integers(0, 256, (count, 16), dtype=np.uint8) for count in (n, m))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "BLOCK", block)
        partner, likeness = splits.nearest(late, early)
    expected = unit(late) @ unit(early).T
    np.testing.assert_allclose(likeness, expected.max(axis=1), atol=1e-6)
    np.testing.assert_allclose(expected[np.arange(n), partner], expected.max(axis=1), atol=1e-6)


def test_constant_thumbnails_are_like_nothing():
    flat = np.full((2, 16), 7, np.uint8)
    assert not unit(flat).any()
